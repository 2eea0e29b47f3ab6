"""``python -m lwgan_dist`` is ``lwgan-dist``."""

from lwgan_dist import interrupts


def main() -> None:
    """The command line, which answers Ctrl-C and SIGTERM before its imports begin and until Python ends."""
    interrupts.begin()
    try:
        from lwgan_dist.cli import main as commands

        commands(prog_name="lwgan-dist")
    finally:
        interrupts.end()


if __name__ == "__main__":
    main()
