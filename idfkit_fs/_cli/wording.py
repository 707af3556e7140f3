"""Say in words of the command line what the library says in words of Python."""

from __future__ import annotations

import re

__all__ = ["in_words_of_the_shell"]

# The library says what to do in Python; a test looks at every message of it that a command can show. What only Python
# can do says so.
_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        # Runs and studies.
        (r"open it with open_result\(\), or give", "use idfkit-fs show, ls or get with this URL, or give"),
        (r"open it with idfkit_fs\.Study, or give", "use idfkit-fs status or ls with this URL, or give"),
        (r"pass require_record=False to open them, or give", "give"),
        (r"publish\(url, url\)", "idfkit-fs publish URL URL"),
        (r"call idfkit_fs\.publish\((.+?), (.+?)\) with", r"run idfkit-fs publish \1 \2 with"),
        (r"idfkit_fs\.publish\(\)", "idfkit-fs publish"),
        (r"with Study\.adopt\(\) or add\(\), overwrite=True", "with idfkit-fs adopt --overwrite"),
        (r"(?:Study\.)?\badopt\(\)", "idfkit-fs adopt"),
        (r"repair=True", "--repair"),
        # Cases are added in Python only.
        (r"(with|pass) (external_files=\"leave\"|auto_migrate=True)", r"add the case in Python with \2"),
        (
            r"\b(add\s(?:the|these) cases?(?: again)?) with (its model and )?overwrite=True",
            r"\1 in Python with \2overwrite=True",
        ),
        (r", or pass sidecars=False", ""),
        (r"\bresult\.(variables|reports)\(\) lists", r"in Python, the method \1 of a result lists"),
        # Packages that are not installed.
        (r"^\w+\([\w=]*\) needs a package", "This command needs a package"),
        (r"^progress=True needs", "--progress needs"),
        # Options of the commands.
        (r"(?<!in Python with )(?<!its model and )overwrite=True", "--overwrite"),
        (r"\boutput_prefix=", "--output-prefix="),
        (r"^download\(\) needs", "--to needs"),
        (r"; make the filesystem again with from_url\(\)", "; run the command again"),
        # Storage options.
        (r"\b(\w+)=\{'(\w+)': \{'(\w+)': \.\.\.\}\}", r"-o \1.\2.\3=..."),
        (r"\b(\w+)=\{'(\w+)': \{\.\.\.\}\}", r"-o \1.\2.NAME=..."),
        (r"\b(\w+)=\{'([\w-]+)': '?([^'}]*?)'?\}", r"-o \1.\2=\3"),
        (r"\b(\w+)=\{([\w-]+): \.\.\.\}", r"-o \1.\2=..."),
        (r"\b(\w+)=\{\.\.\.\}", r"-o \1.NAME=..."),
        (r"(?<!in Python with )(?<!-o )\b(asynchronous|anon|requester_pays)=True", r"-o \1=true"),
    )
)


def in_words_of_the_shell(text: str) -> str:
    """A message of the library, with the options and commands of ``idfkit-fs`` instead of Python's.

    Args:
        text: The message, in one line.

    Examples:
        >>> in_words_of_the_shell("A run already exists; pass overwrite=True to replace it: s3://b/run")
        'A run already exists; pass --overwrite to replace it: s3://b/run'
    """
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text
