"""``python -m lwgan_dist`` is ``lwgan-dist``."""

from lwgan_dist.cli import main

main(prog_name="lwgan-dist")
