"""The token of a cluster: where it is, that nobody else can read it, whether a cluster takes it.

Ray's own token file is made readable by everyone under the usual umask. The token appears in no message.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from lwgan_dist.errors import ClusterError

CHECK_SECONDS = 5.0
"""How long a cluster has to say whether it takes the token."""

PRIVATE = 0o600

_NO_TOKEN = "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, or put the token into ~/.ray/auth_token (mode 0600)"  # noqa: S105
_CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"


def token_file() -> Path:
    """Where Ray keeps the token of a user."""
    return Path.home() / ".ray" / "auth_token"


def find_token() -> tuple[str, str] | None:
    """The token that Ray would use, and where it comes from; None without one, or if RAY_AUTH_MODE turns it off.

    Raises:
        ClusterError: RAY_AUTH_TOKEN_PATH cannot be read.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token, "RAY_AUTH_TOKEN"
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        try:
            return Path(named).expanduser().read_text().strip(), named
        except (OSError, ValueError) as error:
            raise ClusterError(f"RAY_AUTH_TOKEN_PATH: {named}: cannot be read ({error})") from None
    with suppress(OSError, ValueError):
        if token := token_file().read_text().strip():
            return token, str(token_file())
    return None


def authorization() -> dict[str, str]:
    """The HTTP headers of a request; none without a token."""
    token = find_token()
    return {"authorization": f"Bearer {token[0]}"} if token else {}


def refusal(address: str) -> str:
    """Why a cluster that wants a token did not let us in, and what to do."""
    token = find_token()
    if token:
        return f"the Ray cluster at {address} refuses the token in {token[1]}: it has another one"
    if "RAY_AUTH_MODE" in os.environ and os.environ["RAY_AUTH_MODE"].lower() != "token":
        mode = os.environ["RAY_AUTH_MODE"]
        return f"the Ray cluster at {address} wants a token, and RAY_AUTH_MODE={mode} sends none: unset it; {_NO_TOKEN}"
    return f"the Ray cluster at {address} wants a token, and none is set: {_NO_TOKEN}"


def check_token(address: str) -> None:
    """Say within seconds that the cluster at HOST:PORT wants another token; Ray itself tries for 20 s and then says
    that it could not connect. If it wants the one that we have, let Ray send it, which for an address that was given it
    does only under RAY_AUTH_MODE=token.

    Raises:
        ClusterError: it does not let us in. Any other trouble is left to Ray.
    """
    if os.environ.get("RAY_USE_TLS", "0") != "0":  # the token goes through TLS only
        return
    if _lets_in(address, {}):
        return
    headers = authorization()
    if not headers or not _lets_in(address, headers):
        raise ClusterError(refusal(address))
    if "RAY_AUTH_MODE" not in os.environ:
        from lwgan_dist.launch.private import read_environment_again

        os.environ["RAY_AUTH_MODE"] = "token"
        read_environment_again()


def _lets_in(address: str, headers: dict[str, str]) -> bool:
    import grpc  # type: ignore[import-untyped]

    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_CHECK_ALIVE)(b"", timeout=CHECK_SECONDS, metadata=list(headers.items()))
        except grpc.RpcError as error:
            return bool(error.code() != grpc.StatusCode.UNAUTHENTICATED)
    return True


def private_token_file(*, create: bool) -> None:
    """Make the token file, if it exists and is ours, readable by its owner only; to be called before Ray starts.

    Args:
        create: make one where Ray would, for a local cluster without a token of its own.
    """
    path = token_file()
    with suppress(OSError):  # another's, or on a file system that is read only: leave it
        if path.stat().st_mode & 0o077:
            path.chmod(PRIVATE)
        return
    mode = os.environ.get("RAY_AUTH_MODE", "token").lower()
    if not create or mode != "token" or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    with suppress(OSError):  # Ray says what is wrong with the home folder
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".auth_token-{secrets.token_hex(8)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "w") as file:
            file.write(secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was first: its token holds
            os.link(draft, path)
        draft.unlink()
