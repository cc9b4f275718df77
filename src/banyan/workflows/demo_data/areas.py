"""Which area of the library each top-level module belongs to: the labels of the demo's classification task."""

from __future__ import annotations

_MODULES_OF_AREA: dict[str, str] = {
    "text": "string re sre_compile sre_parse sre_constants difflib textwrap stringprep gettext locale codecs pprint "
    "reprlib _pylocale",
    "numbers": "_pydecimal decimal _pylong crypt fractions numbers statistics random colorsys secrets hashlib hmac"
    " _hashlib",
    "dates": "datetime _pydatetime calendar _strptime zoneinfo sched",
    "containers": "collections _collections_abc heapq bisect weakref _weakrefset copy enum dataclasses graphlib "
    "_weakref array queue types",
    "language": "ast _ast_unparse symtable tokenize token keyword dis opcode inspect typing abc _py_abc functools "
    "operator contextlib codeop code importlib pyclbr annotationlib __future__ tabnanny _opcode_metadata ctypes",
    "files": "os pathlib posixpath ntpath genericpath shutil tempfile glob fnmatch filecmp fileinput linecache stat io "
    "_pyio nturl2path",
    "formats": "json csv configparser tomllib plistlib netrc pickle pickletools _compat_pickle shelve dbm sqlite3 "
    "copyreg xdrlib base64 quopri uu binhex tarfile zipfile gzip bz2 lzma zipapp compression _compression wave aifc "
    "sunau chunk sndhdr imghdr uuid struct",
    "markup": "xml html _markupbase",
    "mail": "email mailbox mimetypes smtplib imaplib poplib nntplib smtpd mailcap",
    "network": "socket ssl socketserver http urllib ftplib telnetlib xmlrpc wsgiref ipaddress cgi cgitb asyncore "
    "asynchat selectors webbrowser",
    "concurrency": "asyncio threading _threading_local multiprocessing concurrent subprocess contextvars signal pty "
    "pipes",
    "interface": "tkinter turtle curses cmd argparse optparse getopt getpass rlcompleter _pyrepl _colorize tty shlex",
    "debugging": "unittest doctest pdb bdb trace traceback profile profiling cProfile pstats timeit tracemalloc "
    "warnings _py_warnings logging pydoc",
    "packaging": "distutils ensurepip venv site sysconfig zipimport pkgutil modulefinder runpy compileall py_compile "
    "platform imp _osx_support _aix_support _sitebuiltins",
}

AREAS: tuple[str, ...] = tuple(sorted(_MODULES_OF_AREA))
_AREA_OF_MODULE = {module: area for area, modules in _MODULES_OF_AREA.items() for module in modules.split()}


def area_of(module_name: str) -> str | None:
    """Return the area of a module by the first part of its dotted name; None if the table does not know it."""
    return _AREA_OF_MODULE.get(module_name.partition(".")[0])
