"""`crnet text`: get or train skip-thoughts encoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import BatchSize, Command, DeviceOption, Epochs, Flag, Json, Seed, option
from crnet.cli.progress import progress_display
from crnet.cli.terminal import console, print_json


@dataclass(frozen=True)
class TextFetch(Command):
    """Download and check the published skip-thoughts files.

    Downloads the seven files (5 GB in total) published by Kiros et al. (2015). The authors published no hashes: the
    first check writes the SHA-256 of each file to sha256.json, and later checks compare against those hashes. The two
    word tables are pickled objects; the command converts them to plain arrays (another 4.6 GB) and runs no code from
    the files. If it is interrupted, run the same command again to continue.
    """

    resumes = True

    folder: Annotated[Positional[Path], option("Folder for the files; existing ones are not downloaded again.")]
    source: Annotated[
        str | None, option("Address of another folder with the files, for example a mirror.", "https://HOST/FOLDER")
    ] = None
    no_download: Annotated[Flag, option("Do not download anything: only check and convert existing files.")] = False
    json: Json = False

    def __call__(self) -> int:
        """Download missing files, convert the tables, and check everything."""
        from crnet.errors import FormatError
        from crnet.text.skip_thoughts import fetch

        missing = fetch.missing_files(self.folder)
        address = self.source or fetch.SOURCE
        if missing:
            console(stderr=True).print(
                f"missing in {self.folder}: {', '.join(missing)}\n"
                f"The authors' README names {fetch.SOURCE} (from 2015, possibly offline).",
                highlight=False,
                markup=False,
            )
            if self.no_download:
                raise FormatError(
                    f"{len(missing)} of the published files are missing",
                    path=self.folder,
                    remedy="omit --no-download, or copy the files there",
                )
        with progress_display(self.quiet) as progress:
            fetch.download(self.folder, missing, address, progress)
            converted = fetch.convert_tables(self.folder, progress)
            checked = fetch.check(self.folder, progress)
        if self.json:
            files = [vars(file) for file in checked]
            print_json({"folder": str(self.folder), "source": address, "converted": converted, "files": files})
            return EXIT_DONE
        for file in checked:
            state = "as before" if file.checked_before else "first check"
            print(f"{file.sha256}  {file.name} ({file.bytes:,} bytes, {state})")
        print(
            "The files fit together; the authors published no hashes to compare with. "
            f"Use them as skip-thoughts:{self.folder}"
        )
        return EXIT_DONE


@dataclass(frozen=True)
class TextTrain(Command):
    """Train a skip-thoughts encoder on plain text.

    Each sentence is encoded, and the sentences before and after it are predicted word by word (Kiros et al. 2015). The
    default sizes are the published ones; they need a GPU and thousands of books. If it is interrupted, run the same
    command again to continue; the result is the same.
    """

    resumes = True

    text: Annotated[Positional[Path], option("UTF-8 file of running text; blank lines separate paragraphs.")]
    out: Annotated[Positional[Path], option("Folder for the new encoder.")]
    uni: Annotated[int, option("Units of the unidirectional encoder.")] = 2400
    bi: Annotated[
        int,
        option(
            "Units in each direction of the bidirectional encoder. --uni plus twice --bi must not exceed 4800; the "
            "rest of the vector is zero-padded."
        ),
    ] = 1200
    word_dimensions: Annotated[int, option("Length of the word vectors.")] = 620
    words: Annotated[int, option("Vocabulary size.")] = 20_000
    longest: Annotated[int, option("Skip sentences longer than this many tokens.")] = 30
    epochs: Epochs = 5
    batch_size: BatchSize = 128
    lr: Annotated[float, option("Learning rate of Adam.")] = 0.0005
    seed: Seed = 0
    sentence_per_line: Annotated[Flag, option("Treat every line as one sentence.")] = False
    device: DeviceOption = "auto"
    json: Json = False

    def __call__(self) -> int:
        """Train the encoder and print the first and the last loss of each part."""
        from crnet.text.skip_thoughts.training import SkipThoughtsConfig, train_skip_thoughts
        from crnet.utils.device import choose_device

        config = SkipThoughtsConfig(
            self.uni,
            self.bi,
            self.word_dimensions,
            self.words,
            self.longest,
            self.epochs,
            self.batch_size,
            self.lr,
            seed=self.seed,
        )
        with progress_display(self.quiet) as progress:
            losses = train_skip_thoughts(
                self.text,
                self.out,
                config,
                sentence_per_line=self.sentence_per_line,
                device=choose_device(self.device),
                progress=progress,
            )
        if self.json:
            ends = {part: list(pair) for part, pair in losses.items()}
            print_json({"encoder": f"skip-thoughts:{self.out}", "losses": ends})
            return EXIT_DONE
        for part, (first, last) in losses.items():
            print(f"{part}-skip: {first:.3f} nats per word at the start, {last:.3f} at the end")
        print(f"trained; next: crnet embed STORE --encoder skip-thoughts:{self.out}")
        return EXIT_DONE
