"""`crnet merge`: clip stores that were prepared apart become one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import DisallowNone, Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import Command, Json, option
from crnet.cli.progress import progress_display
from crnet.cli.terminal import print_json
from crnet.utils.number_format import counted


@dataclass(frozen=True)
class Merge(Command):
    """Merge clip stores prepared apart, or pack one into shards.

    The stores must have been prepared with the same settings, and no clip may be in two of them. With --shards, the
    clips are packed into tar files (WebDataset's naming), which training reads in place. If it is interrupted, run the
    same command again to continue. The stores themselves stay as they are.
    """

    resumes = True
    urls = ("out",)

    out: Annotated[Positional[Path], option("Folder or URL for the merged clip store.")]
    stores: Annotated[Positional[tuple[Path, ...]], option("Clip stores made by `crnet prepare`.", "STORES")]
    shards: Annotated[int | None, DisallowNone, option("Pack the clips into about this many tar files.")] = None
    json: Json = False

    def __call__(self) -> int:
        """Merge the stores and print how many clips there are."""
        from crnet.data.merge import merge

        with progress_display(self.quiet) as progress:
            report = merge(self.out, self.stores, self.shards, progress)
        if self.json:
            print_json({"store": str(self.out), **vars(report)})
        else:
            shards = f" in {counted(report.shards, 'shard')}" if report.shards else ""
            stores = counted(len(self.stores), "store")
            print(f"{self.out}: {counted(report.clips, 'clip')}{shards} from {stores}")
        return EXIT_DONE
