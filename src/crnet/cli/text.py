"""`crnet text`: get or train skip-thoughts encoders."""

from __future__ import annotations

from pathlib import Path

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.terminal import bars, console, print_json
from crnet.utils.device import Device


def text_fetch(
    folder: Path,
    /,
    *,
    source: str | None = None,
    download: bool = True,
    json: bool = False,
) -> int:
    """Get the published skip-thoughts files, check them, and make their tables readable.

    Seven files by Kiros et al. (2015), 5 GB, of which the authors published no hashes: the first check writes the
    SHA-256 of each into sha256.json, later ones compare. Both tables are pickled objects and are turned into plain
    numbers beside them (another 4.6 GB). Nothing from the files is run.

    Args:
        folder: Where they are or shall be; files that are there are not downloaded.
        source: Address of another folder to download from, such as a mirror's.
        download: Get what is missing; --no-download leaves the network alone.
        json: Print the result as JSON.
    """
    from crnet.errors import FormatError
    from crnet.text.skip_thoughts import fetch

    screen = console(stderr=True)
    missing = fetch.missing_files(folder)
    address = source or fetch.SOURCE
    if missing:
        screen.print(
            f"missing in {folder}: {', '.join(missing)}\n"
            f"The authors' README names {fetch.SOURCE} (from 2015, unencrypted, perhaps gone).",
            highlight=False,
            markup=False,
        )
        if not download:
            raise FormatError(
                f"{len(missing)} of the published files are missing",
                path=folder,
                remedy="leave --no-download out, or put them there",
            )
    with bars() as progress:
        fetch.download(folder, missing, address, progress)
        converted = fetch.convert_tables(folder, progress)
        checked = fetch.check(folder, progress)
    if json:
        files = [vars(one) for one in checked]
        print_json({"folder": str(folder), "source": address, "converted": converted, "files": files})
        return EXIT_DONE
    for one in checked:
        print(f"{one.sha256}  {one.name} ({one.bytes:,} bytes, {'as before' if one.checked_before else 'first check'})")
    print(f"the files fit together; the authors published no hashes to compare with. Use: skip-thoughts:{folder}")
    return EXIT_DONE


def text_train(
    text: Path,
    out: Path,
    /,
    *,
    uni: int = 2400,
    bi: int = 1200,
    word_dimensions: int = 620,
    words: int = 20_000,
    longest: int = 30,
    epochs: int = 5,
    batch_size: int = 128,
    lr: float = 0.0005,
    seed: int = 0,
    a_sentence_a_line: bool = False,
    device: Device = "auto",
    json: bool = False,
) -> int:
    """Train a skip-thoughts encoder of your own on a plain text.

    From each sentence the sentences before and after are foretold, word by word (Kiros et al. 2015); by default at the
    published sizes, which take a GPU and books in their thousands. Stopped at any moment, the same command goes on
    where it was and ends the same.

    Args:
        text: UTF-8, running sentences; blank lines separate paragraphs.
        out: The encoder's folder.
        uni: Units of the one-way encoder.
        bi: Units of each half of the two-way encoder; --uni and twice --bi are at most 4800, what lacks is zeros.
        word_dimensions: Length of the word vectors.
        words: Size of the dictionary.
        longest: Sentences of more tokens are left out.
        epochs: How often the text is read.
        batch_size: Sentences at once.
        lr: Adam's step.
        seed: Of weights and order.
        a_sentence_a_line: Line ends separate sentences.
        device: Where to compute; auto takes a GPU if there is one.
        json: Print the result as JSON.
    """
    from crnet.text.skip_thoughts.training import SkipThoughtsConfig, train_skip_thoughts
    from crnet.training.distributed import choose_device

    config = SkipThoughtsConfig(uni, bi, word_dimensions, words, longest, epochs, batch_size, lr, seed=seed)
    with bars() as progress:
        losses = train_skip_thoughts(
            text, out, config, sentence_per_line=a_sentence_a_line, device=choose_device(device), progress=progress
        )
    if json:
        print_json({"encoder": f"skip-thoughts:{out}", "losses": {part: list(ends) for part, ends in losses.items()}})
        return EXIT_DONE
    for part, (first, last) in losses.items():
        print(f"{part}-skip: {first:.3f} nats a word at first, {last:.3f} in the end")
    print(f"trained; next: crnet embed STORE --encoder skip-thoughts:{out}")
    return EXIT_DONE
