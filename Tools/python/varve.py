"""Varve from Python: memory objects that persist, over the C interface (varve.h), without a build step.

    import varve

    varve.create("counters.varve")
    with varve.open("counters.varve") as store:
        counters = store.create_object("counters", 1 << 20)
        task = store.task("main")
        address = task.map(1 << 20, object=counters)
        memory = task.memory(address, 1 << 20).cast("Q")   # a memoryview of the mapped memory
        memory[0] = 41
        store.commit("count", snapshot="first")
        memory[0] += 1
        store.abandon()                                    # memory[0] is 41 again

A heap is memory of a store in which a program allocates; its roots have names and types:

    with varve.open_heap("counter.varve") as heap:
        n = heap.root("n", "q")
        n.value += 1
        heap.commit()

Calls of the vm_map family raise KernError, all others StoreError; both say what failed, on what, and what to do.
Arguments are checked by the library, not here: what varve.h says of a call holds of it.

A memoryview of mapped memory is the memory: after the region was deallocated, the task terminated or the store closed,
touching it ends the process with SIGSEGV. The same holds of a heap's blocks once they are freed or the heap is closed.

The library is looked for in $VARVE_LIBRARY, beside an installed module, where the system keeps libraries, and in the
checkout that the module lies in.
"""

import ctypes
import ctypes.util
import os
import struct

__all__ = [
    "Error", "KernError", "StoreError", "Store", "Task", "Object", "State", "Region", "Snapshot", "Difference", "LogEntry",
    "ObjectInfo", "Heap", "Root", "RootInfo", "create", "open", "open_heap",
]

PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXECUTE, PROT_DEFAULT, PROT_ALL = 0, 1, 2, 4, 3, 7
INHERIT_SHARE, INHERIT_COPY, INHERIT_NONE = 0, 1, 2
SYNC_ASYNCHRONOUS, SYNC_SYNCHRONOUS, SYNC_INVALIDATE, SYNC_KILLPAGES, SYNC_DEACTIVATE, SYNC_CONTIGUOUS = 1, 2, 4, 8, 16, 32
(BEHAVIOR_DEFAULT, BEHAVIOR_RANDOM, BEHAVIOR_SEQUENTIAL, BEHAVIOR_RSEQNTL, BEHAVIOR_WILLNEED, BEHAVIOR_DONTNEED,
 BEHAVIOR_FREE) = range(7)
BEHAVIOR_PAGEOUT, BEHAVIOR_ZERO = 11, 12
PAGE_PRESENT, PAGE_DIRTY, PAGE_PAGED_OUT, PAGE_COPIED = 0x1, 0x8, 0x10, 0x20
ENTRY_FRESH, ENTRY_COPY, ENTRY_SHARE = 0x020000, 0x200000, 0x400000
OPEN_WRITE, OPEN_READ, OPEN_AUTOMATIC, OPEN_CHECK_ON_MAP, OPEN_TRACK_SIGNAL, OPEN_COPY_ON_MAP = 0, 1, 2, 4, 8, 16

_u64 = ctypes.c_uint64
_int = ctypes.c_int
_handle = ctypes.c_void_p
_text = ctypes.c_char_p
_unsigned = ctypes.c_uint


def _structure(name, *fields):
    return type(name, (ctypes.Structure,), {"_fields_": list(fields)})


_Error = _structure(
    "_Error", ("code", _int), ("error_number", _int), ("name", _text), ("message", _text), ("advice", _text), ("path", _text),
    ("text", _text))
_Region = _structure(
    "_Region", ("protection", _int), ("max_protection", _int), ("inheritance", _int), ("shared", _int), ("copied", _int),
    ("wired_count", _unsigned), ("offset", _u64), ("resident_pages", _u64), ("dirty_pages", _u64), ("swapped_pages", _u64))
_ObjectInfo = _structure(
    "_ObjectInfo", ("number", _u64), ("size", _u64), ("born", _u64), ("residency", _int), ("reserved", _int), ("name", _text))
_Snapshot = _structure(
    "_Snapshot", ("name", _text), ("message", _text), ("version", _u64), ("object", _u64), ("time", ctypes.c_int64))
_Difference = _structure(
    "_Difference", ("name", _text), ("object", _u64), ("kind", _int), ("reserved", _int), ("size_before", _u64),
    ("size_after", _u64), ("changed_pages", _u64), ("changed_bytes", _u64))
_LogEntry = _structure(
    "_LogEntry", ("version", _u64), ("time", ctypes.c_int64), ("message", _text), ("changes", _text), ("pages", _u64),
    ("retained", _int), ("reserved", _int))
_StoreInfo = _structure(
    "_StoreInfo", *((name, _u64) for name in (
        "size", "version", "flushed_version", "settled_version", "objects", "snapshots", "live_bytes", "disk_bytes",
        "window_base")),
    ("writes", _int), ("tracks_by_signal", _int), ("fills_on_demand", _int), ("reserved", _int))

_HeapInfo = _structure(
    "_HeapInfo", ("size", _u64), ("capacity", _u64), ("base", _u64), ("roots", _u64), ("read_only", _int), ("relocated", _int))
_RootInfo = _structure(
    "_RootInfo", ("name", _text), ("type", _text), ("version", ctypes.c_uint32), ("collection", _int), ("offset", _u64))

_visitor = ctypes.CFUNCTYPE(_int, ctypes.c_void_p, ctypes.c_void_p)
_name_visitor = ctypes.CFUNCTYPE(_int, ctypes.c_void_p, _text)


def _load():
    here = os.path.dirname(os.path.abspath(__file__))
    places = [
        os.environ.get("VARVE_LIBRARY"),
        os.path.join(here, "../../../lib/libvarve.so.0"),
        ctypes.util.find_library("varve"),
        os.path.join(here, "../../.build/release/libCVarve.so"),
        os.path.join(here, "../../.build/debug/libCVarve.so"),
    ]
    for place in places:
        if place and (os.path.exists(place) or os.sep not in place):
            return ctypes.CDLL(place)
    raise ImportError("libvarve is not found; install it (Tools/install), or say where it is in VARVE_LIBRARY")


_library = _load()


class Error(Exception):
    """What went wrong: `code` and its `name`, `message`, `advice`, `path` and `errno` (None and 0 where there is none)."""

    def __init__(self, error):
        super().__init__(error.text.decode())
        self.code = error.code
        self.name = error.name.decode()
        self.message = error.message.decode()
        self.advice = error.advice.decode()
        self.path = error.path.decode() if error.path else None
        self.errno = error.error_number


class KernError(Error):
    """A call of the vm_map family failed; `name` is "NO_SPACE", "INVALID_ARGUMENT", …"""


class StoreError(Error):
    """Another call failed; `name` is "notFound", "locked", …"""


_pointer = ctypes.POINTER


def _declare(result, name, *arguments):
    function = getattr(_library, "varve_" + name)
    function.argtypes = arguments
    function.restype = result
    return function


_last_error = _declare(_pointer(_Error), "last_error")


def _check(kind):
    def check(code, function, arguments):
        if code:
            raise kind(_last_error().contents)
    return check


def _call(check, name, *arguments):
    function = _declare(_int, name, *arguments)
    function.errcheck = check
    return function


_store = _check(StoreError)
_kern = _check(KernError)
_to_u64, _to_int, _to_handle = _pointer(_u64), _pointer(_int), _pointer(_handle)

_store_create = _call(_store, "store_create", _text, _u64, _u64)
_store_open = _call(_store, "store_open", _text, _unsigned, _to_handle)
_store_close = _call(_store, "store_close", _handle)
_store_info = _call(_store, "store_info", _handle, _pointer(_StoreInfo))
_commit = _call(_store, "commit", _handle, _text, _unsigned, _text, _to_u64)
_flush = _call(_store, "flush", _handle)
_abandon = _call(_store, "abandon", _handle)
_is_changed = _call(_store, "is_changed", _handle, _to_int)
_set_residency = _call(_store, "set_residency", _handle, _u64)
_trim = _call(_store, "trim", _handle, _u64, _to_u64)
_backup = _call(_store, "backup", _handle, _text)
_release = _declare(_int, "release", _handle)
_object_create = _call(_store, "object_create", _handle, _text, _u64, _int, _text, _to_handle)
_object_open = _call(_store, "object_open", _handle, _text, _to_handle)
_object_port = _call(_store, "object_port", _handle, _int, _to_handle)
_object_number = _call(_store, "object_number", _handle, _to_u64)
_object_list = _call(_store, "object_list", _handle, _text, _visitor, ctypes.c_void_p)
_object_resize = _call(_store, "object_resize", _handle, _text, _u64, _text)
_object_rename = _call(_store, "object_rename", _handle, _text, _text, _text)
_object_delete = _call(_store, "object_delete", _handle, _text, _text)
_object_clone = _call(_store, "object_clone", _handle, _text, _text, _text, _to_handle)
_object_size = _call(_store, "object_size", _handle, _text, _to_u64)
_read = _call(_store, "read", _handle, _text, _u64, ctypes.c_void_p, ctypes.c_size_t, _pointer(ctypes.c_size_t))
_write = _call(_store, "write", _handle, _text, _u64, ctypes.c_char_p, ctypes.c_size_t, _text, _to_u64)
_object_of_file = _call(_store, "object_of_file", _handle, _text, _text, _to_handle)
_memory_object_of_file = _call(_kern, "memory_object_of_file", _handle, _text, _int, ctypes.c_void_p, _to_handle)
_import = _call(_store, "import", _handle, _text, _text, _text, _to_handle)
_export = _call(_store, "export", _handle, _text, _text, _int)
_state_map = _call(_store, "state_map", _handle, _text, _to_handle, _to_handle, _to_u64)
_snapshot_create = _call(_store, "snapshot_create", _handle, _text, _text, _text, _to_u64)
_snapshot_delete = _call(_store, "snapshot_delete", _handle, _text)
_snapshot_rename = _call(_store, "snapshot_rename", _handle, _text, _text)
_snapshot_list = _call(_store, "snapshot_list", _handle, _visitor, ctypes.c_void_p)
_rollback = _call(_store, "rollback", _handle, _text, _text, _text, _to_u64)
_diff = _call(_store, "diff", _handle, _text, _text, _text, _visitor, ctypes.c_void_p)
_log = _call(_store, "log", _handle, _visitor, ctypes.c_void_p)
_task_attach = _call(_store, "task_attach", _handle, _text, _to_handle)
_task_list = _call(_store, "task_list", _handle, _text, _name_visitor, ctypes.c_void_p)
_task_clone = _call(_store, "task_clone", _handle, _text, _text, _text, _to_handle)
_task_create = _call(_kern, "task_create", _handle, _text, _int, _to_handle)
_task_terminate = _call(_kern, "task_terminate", _handle)
_task_window = _call(_kern, "task_window", _handle, _to_u64, _to_u64)
_task_touch = _call(_kern, "task_touch", _handle, _u64, _u64)
_vm_map = _call(_kern, "vm_map", _handle, _to_u64, _u64, _u64, _int, _handle, _u64, _int, _int, _int, _int)
_vm_allocate = _call(_kern, "vm_allocate", _handle, _to_u64, _u64, _int)
_vm_deallocate = _call(_kern, "vm_deallocate", _handle, _u64, _u64)
_vm_protect = _call(_kern, "vm_protect", _handle, _u64, _u64, _int, _int)
_vm_inherit = _call(_kern, "vm_inherit", _handle, _u64, _u64, _int)
_vm_remap = _call(
    _kern, "vm_remap", _handle, _to_u64, _u64, _u64, _int, _handle, _u64, _int, _to_int, _to_int, _int)
_vm_region = _call(
    _kern, "vm_region", _handle, _to_u64, _to_u64, _int, _pointer(_Region), _pointer(_unsigned), _to_u64)
_vm_read_overwrite = _call(_kern, "vm_read_overwrite", _handle, _u64, _u64, ctypes.c_void_p, _to_u64)
_vm_write = _call(_kern, "vm_write", _handle, _u64, ctypes.c_char_p, _u64)
_vm_copy = _call(_kern, "vm_copy", _handle, _u64, _u64, _u64)
_vm_msync = _call(_kern, "vm_msync", _handle, _u64, _u64, _unsigned)
_vm_behavior_set = _call(_kern, "vm_behavior_set", _handle, _u64, _u64, _int)
_vm_wire = _call(_kern, "vm_wire", _handle, _u64, _u64, _int)
_vm_map_page_query = _call(_kern, "vm_map_page_query", _handle, _u64, _to_int)
_make_memory_entry = _call(_kern, "make_memory_entry", _handle, _to_u64, _u64, _int, _to_handle, _handle)
_heap_open = _call(_store, "heap_open", _text, _u64, _to_handle)
_heap_open_in = _call(_store, "heap_open_in", _handle, _text, _u64, _to_handle)
_heap_close = _call(_store, "heap_close", _handle)
_heap_info = _call(_store, "heap_info", _handle, _pointer(_HeapInfo))
_heap_root = _call(_store, "heap_root", _handle, _text, _text, ctypes.c_uint32, _u64, _to_handle)
_heap_bytes = _call(_store, "heap_bytes", _handle, _text, ctypes.c_uint32, _to_u64, _to_handle)
_heap_bytes_resize = _call(_store, "heap_bytes_resize", _handle, _text, ctypes.c_uint32, _u64, _to_handle)
_heap_root_list = _call(_store, "heap_root_list", _handle, _visitor, ctypes.c_void_p)
_heap_alloc_aligned = _declare(_handle, "heap_alloc_aligned", _handle, _u64, _u64)
_heap_realloc = _declare(_handle, "heap_realloc", _handle, _handle, _u64)
_heap_free = _call(_store, "heap_free", _handle, _handle)
_heap_usable_size = _call(_store, "heap_usable_size", _handle, _handle, _to_u64)
_heap_declare = _call(_store, "heap_declare", _handle, _handle, _u64)
_heap_commit = _call(_store, "heap_commit", _handle, _text, _unsigned, _text, _to_u64)
_heap_abandon = _call(_store, "heap_abandon", _handle)
_body = ctypes.CFUNCTYPE(_int, ctypes.c_void_p)
_heap_transaction = _declare(_int, "heap_transaction", _handle, _text, _unsigned, _body, ctypes.c_void_p)
_heap_begin = _call(_store, "heap_begin", _handle, _unsigned)
_heap_end = _call(_store, "heap_end", _handle, _text, _unsigned, _to_u64)
_heap_cancel = _call(_store, "heap_cancel", _handle)
_heap_snapshot = _call(_store, "heap_snapshot", _handle, _text, _text, _to_u64)
_heap_rollback = _call(_store, "heap_rollback", _handle, _text, _text, _to_u64)
_heap_past = _call(_store, "heap_past", _handle, _text, _to_handle)
_heap_open_past = _call(_store, "heap_open_past", _text, _text, _to_handle)


def _bytes(text):
    return None if text is None else os.fsencode(text)


class _Record:
    """A structure's members as attributes; strings as str."""

    def __init__(self, structure, **more):
        for name, _ in structure._fields_:
            value = getattr(structure, name)
            if name != "reserved":
                setattr(self, name, value.decode() if isinstance(value, bytes) else value)
        self.__dict__.update(more)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Region(_Record):
    """A region: address, size, object (a number, or 0), protection, max_protection, inheritance, shared, copied,
    wired_count, offset, resident_pages, dirty_pages, swapped_pages."""


class Snapshot(_Record):
    """name, message, version, object (a number; 0: the whole store), time (ns since 1970)."""


class Difference(_Record):
    """name, object, kind (1 added, 2 removed, 3 changed, 4 resized), size_before, size_after, changed_pages,
    changed_bytes."""


class LogEntry(_Record):
    """version, time (ns since 1970), message, changes, pages, retained."""


class ObjectInfo(_Record):
    """number, size, born, residency, name."""


class RootInfo(_Record):
    """name, type, version, collection (1: one of Swift's), offset."""


def _visit(call, arguments, structure, record):
    found, failure = [], []

    def show(_, address):
        try:
            found.append(record(structure.from_address(address)))
            return 0
        except BaseException as error:
            failure.append(error)
            return 1

    call(*arguments, _visitor(show), None)
    if failure:
        raise failure[0]
    return found


class _Handle:
    def __init__(self, handle):
        self._handle = handle

    def __del__(self):
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            _release(handle)


class Object(_Handle):
    """What map takes: an object, a port with fewer rights, or a memory entry."""

    @property
    def number(self):
        """The object's number (StoreError for a memory entry)."""
        number = _u64()
        _object_number(self._handle, number)
        return number.value

    def port(self, rights):
        """The object with fewer rights, to hand on."""
        port = _handle()
        _object_port(self._handle, rights, port)
        return Object(port.value)


class State(_Handle):
    """A past state of an object, read-only in memory while this or a view of it lives."""

    def __init__(self, handle, address, size):
        super().__init__(handle)
        self._place = address, size

    @property
    def bytes(self):
        """A memoryview of the state."""
        return _view(*self._place, self).toreadonly()


def _view(address, size, owner):
    if size == 0:
        return memoryview(b"")
    array = (ctypes.c_ubyte * size).from_address(address)
    array.owner = owner
    return memoryview(array).cast("B")


class Task(_Handle):
    """A task: a persistent address space. Its addresses are addresses of this process."""

    def __init__(self, handle, store):
        super().__init__(handle)
        self.store = store

    @property
    def window(self):
        """The first address and the bytes of the task's window."""
        base, size = _u64(), _u64()
        _task_window(self._handle, base, size)
        return base.value, size.value

    def memory(self, address, size):
        """A memoryview of bytes of the task; read-only where a region of the range may not be written now.

        KernError (INVALID_ADDRESS, PROTECTION_FAILURE) where something of it is not mapped or may not be read.
        """
        writable, end, at = True, address + size, address
        while at < end:
            region = self.region(at)
            _vm_read_overwrite(self._handle, at, 1, (ctypes.c_ubyte * 1)(), None)
            writable = writable and bool(region.protection & PROT_WRITE)
            at = region.address + region.size
        view = _view(address, size, self)
        return view if writable else view.toreadonly()

    def map(self, size, address=0, mask=0, anywhere=True, object=None, offset=0, copy=False, cur=PROT_DEFAULT, max=PROT_ALL,
            inheritance=INHERIT_COPY):
        """vm_map; returns the address."""
        at = _u64(address)
        _vm_map(
            self._handle, at, size, mask, anywhere, object._handle if object else None, offset, copy, cur, max, inheritance)
        return at.value

    def allocate(self, size, address=0, anywhere=True):
        """vm_allocate; returns the address."""
        at = _u64(address)
        _vm_allocate(self._handle, at, size, anywhere)
        return at.value

    def deallocate(self, address, size):
        """vm_deallocate."""
        _vm_deallocate(self._handle, address, size)

    def protect(self, address, size, protection, set_maximum=False):
        """vm_protect."""
        _vm_protect(self._handle, address, size, set_maximum, protection)

    def inherit(self, address, size, inheritance):
        """vm_inherit."""
        _vm_inherit(self._handle, address, size, inheritance)

    def remap(self, size, source, source_address, address=0, mask=0, anywhere=True, copy=False, inheritance=INHERIT_COPY):
        """vm_remap; returns the address and the current and maximum protections."""
        at, cur, max = _u64(address), _int(), _int()
        _vm_remap(
            self._handle, at, size, mask, anywhere, source._handle, source_address, copy, cur, max, inheritance)
        return at.value, cur.value, max.value

    def region(self, address):
        """vm_region: the Region that contains the address, else the next one above."""
        at, size, info, count, number = _u64(address), _u64(), _Region(), _unsigned(ctypes.sizeof(_Region) // 4), _u64()
        _vm_region(self._handle, at, size, 1, info, count, number)
        return Region(info, address=at.value, size=size.value, object=number.value)

    def regions(self):
        """Every Region, by address."""
        base, size = self.window
        found, at = [], base
        while at < base + size:
            try:
                region = self.region(at)
            except KernError as error:
                if error.name != "INVALID_ADDRESS":
                    raise
                break
            found.append(region)
            at = region.address + region.size
        return found

    def read(self, address, size):
        """vm_read: bytes."""
        buffer = ctypes.create_string_buffer(size)
        _vm_read_overwrite(self._handle, address, size, buffer, None)
        return buffer.raw

    def write(self, address, data):
        """vm_write."""
        data = bytes(data)
        _vm_write(self._handle, address, data, len(data))

    def copy(self, source, size, destination):
        """vm_copy."""
        _vm_copy(self._handle, source, size, destination)

    def msync(self, address, size, flags=SYNC_SYNCHRONOUS):
        """vm_msync."""
        _vm_msync(self._handle, address, size, flags)

    def behavior_set(self, address, size, behavior):
        """vm_behavior_set."""
        _vm_behavior_set(self._handle, address, size, behavior)

    def wire(self, address, size, access):
        """vm_wire; PROT_NONE unwires."""
        _vm_wire(self._handle, address, size, access)

    def page_query(self, address):
        """vm_map_page_query: PAGE_*, or'ed."""
        bits = _int()
        _vm_map_page_query(self._handle, address, bits)
        return bits.value

    def memory_entry(self, address, size, permission, parent=None):
        """mach_make_memory_entry: an Object for map. permission may be or'ed with ENTRY_*."""
        entry, length = _handle(), _u64(size)
        _make_memory_entry(self._handle, length, address, permission, entry, parent._handle if parent else None)
        return Object(entry.value)

    def touch(self, address, size):
        """Says that a range is about to be stored to, for commit(declared=True)."""
        _task_touch(self._handle, address, size)

    def child(self, name, inherit=True):
        """task_create: a Task with what the regions hand on."""
        child = _handle()
        _task_create(self._handle, _bytes(name), inherit, child)
        return Task(child.value, self.store)

    def terminate(self):
        """task_terminate."""
        _task_terminate(self._handle)


def create(path, ring_bytes=0, window_base=0):
    """Makes an empty store."""
    _store_create(_bytes(path), ring_bytes, window_base)


def open(path, flags=OPEN_WRITE):
    """Opens a store; flags are OPEN_*, or'ed. Use it with `with`, or close it."""
    return Store(path, flags)


class Store:
    """An open store."""

    def __init__(self, path, flags=OPEN_WRITE):
        handle = _handle()
        _store_open(_bytes(path), flags, handle)
        self._handle = handle.value

    def close(self):
        """Closes the store; what is not committed is lost. Closing again does nothing."""
        handle, self._handle = self._handle, None
        if handle:
            _store_close(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def info(self):
        """Figures: version, objects, disk_bytes, writes and more."""
        info = _StoreInfo(size=ctypes.sizeof(_StoreInfo))
        _store_info(self._handle, info)
        return _Record(info)

    def task(self, name):
        """Attaches the task of that name, or makes it."""
        task = _handle()
        _task_attach(self._handle, _bytes(name), task)
        return Task(task.value, self)

    def tasks(self, state=None):
        """The names of a state's tasks."""
        found = []
        _task_list(self._handle, _bytes(state), _name_visitor(lambda _, name: found.append(name.decode()) or 0), None)
        return found

    def clone_task(self, name, new_name, state=None):
        """A new Task that begins as a task was in a state (a snapshot, or a version); None is the last commit."""
        made = _handle()
        _task_clone(self._handle, _bytes(name), None if state is None else _bytes(str(state)), _bytes(new_name), made)
        return Task(made.value, self)

    def commit(self, message="", snapshot=None, deferred=False, declared=False):
        """Makes the next version of everything that changed; returns it."""
        version = _u64()
        _commit(self._handle, _bytes(message), int(deferred) | int(declared) << 1, _bytes(snapshot), version)
        return version.value

    def flush(self):
        """Puts deferred commits on the disk."""
        _flush(self._handle)

    def abandon(self):
        """Undoes what is not committed, in place."""
        _abandon(self._handle)

    def set_residency(self, limit=None):
        """Says how much memory of exclusive objects (heaps among them) stays private: `limit` bytes after a commit, or all.

        With a limit nothing may store to such memory while a commit runs, but heaps by their own calls: it may be lost.
        """
        _set_residency(self._handle, limit or 0)

    def trim(self, bytes=0):
        """Gives private memory of exclusive objects back until so many bytes are left; returns how many are.

        No byte changes. Nothing may store to such memory meanwhile, but heaps by their own calls.
        """
        left = _u64()
        _trim(self._handle, bytes, left)
        return left.value

    @property
    def changed(self):
        """Whether memory or maps differ from the last commit."""
        changed = _int()
        _is_changed(self._handle, changed)
        return bool(changed.value)

    def backup(self, path):
        """Copies the store, as of its last commit."""
        _backup(self._handle, _bytes(path))

    def create_object(self, name, size, exclusive=False, message=""):
        """Makes an object of zeros and commits that."""
        made = _handle()
        _object_create(self._handle, _bytes(name), size, int(exclusive), _bytes(message), made)
        return Object(made.value)

    def object(self, name):
        """The live object of that name, or "#" and its number."""
        found = _handle()
        _object_open(self._handle, _bytes(name), found)
        return Object(found.value)

    def objects(self, state=None):
        """The objects of a state, as ObjectInfo."""
        return _visit(_object_list, (self._handle, _bytes(state)), _ObjectInfo, ObjectInfo)

    def resize_object(self, name, size, message=""):
        _object_resize(self._handle, _bytes(name), size, _bytes(message))

    def rename_object(self, name, new_name, message=""):
        _object_rename(self._handle, _bytes(name), _bytes(new_name), _bytes(message))

    def delete_object(self, name, message=""):
        _object_delete(self._handle, _bytes(name), _bytes(message))

    def clone(self, reference, name, message=""):
        """A new object that holds what a reference ("NAME", "NAME@SNAPSHOT", "NAME@VERSION") does."""
        made = _handle()
        _object_clone(self._handle, _bytes(reference), _bytes(name), _bytes(message), made)
        return Object(made.value)

    def size(self, reference):
        """Bytes of an object in a state."""
        size = _u64()
        _object_size(self._handle, _bytes(reference), size)
        return size.value

    def read(self, reference, offset=0, size=None):
        """Committed bytes of an object in a state, to its end where no size is given."""
        if size is None:
            size = max(0, self.size(reference) - offset)
        buffer, count = ctypes.create_string_buffer(size), ctypes.c_size_t()
        _read(self._handle, _bytes(reference), offset, buffer, size, count)
        return buffer.raw[:count.value]

    def write(self, name, offset, data, message=""):
        """Writes bytes to an object that is not mapped, as one commit; returns the version."""
        data, version = bytes(data), _u64()
        _write(self._handle, _bytes(name), offset, data, len(data), _bytes(message), version)
        return version.value

    def import_file(self, file, name, message=""):
        """Makes an object of a file's bytes."""
        made = _handle()
        _import(self._handle, _bytes(file), _bytes(name), _bytes(message), made)
        return Object(made.value)

    def object_of_file(self, file, name):
        """The named object that has a host file's bytes as its base; made at the first call, the same one later."""
        found = _handle()
        _object_of_file(self._handle, _bytes(file), _bytes(name), found)
        return Object(found.value)

    def serve_file(self, file, writable=True):
        """An object whose pages are a host file's, written back with each commit; it is not part of the store."""
        made = _handle()
        _memory_object_of_file(self._handle, _bytes(file), int(writable), None, made)
        return Object(made.value)

    def export(self, reference, file, overwrite=True):
        """Writes an object's state to a file."""
        _export(self._handle, _bytes(reference), _bytes(file), overwrite)

    def map_state(self, reference):
        """An object's state read-only in memory, as a State."""
        state, address, size = _handle(), _handle(), _u64()
        _state_map(self._handle, _bytes(reference), state, address, size)
        return State(state.value, address.value, size.value)

    def snapshot(self, name, object=None, message=""):
        """Names the committed state, of the store or of one object; returns the version."""
        version = _u64()
        _snapshot_create(self._handle, _bytes(name), _bytes(object), _bytes(message), version)
        return version.value

    def snapshots(self):
        return _visit(_snapshot_list, (self._handle,), _Snapshot, Snapshot)

    def delete_snapshot(self, name):
        _snapshot_delete(self._handle, _bytes(name))

    def rename_snapshot(self, name, new_name):
        _snapshot_rename(self._handle, _bytes(name), _bytes(new_name))

    def rollback(self, state, object=None, message=""):
        """Makes the next version hold what a state (a snapshot, or a version) held; returns it."""
        version = _u64()
        _rollback(self._handle, _bytes(str(state)), _bytes(object), _bytes(message), version)
        return version.value

    def diff(self, before, after=None, object=None):
        """What differs between two states, as Difference; after: None is the last commit."""
        arguments = (self._handle, _bytes(str(before)), None if after is None else _bytes(str(after)), _bytes(object))
        return _visit(_diff, arguments, _Difference, Difference)

    def heap(self, name="heap", capacity=0):
        """The Heap of that name; made where it is not there. It ends with the store, or by its own close."""
        handle = _handle()
        _heap_open_in(self._handle, _bytes(name), capacity, handle)
        return Heap(handle.value)

    def log(self):
        """The commits, newest first, as LogEntry."""
        return _visit(_log, (self._handle,), _LogEntry, LogEntry)


def open_heap(path, capacity=0, at=None):
    """Opens the heap of the store at a path; makes both where they are not there.

    capacity: bytes that a new heap can grow to; 0: 64 GiB. at: a snapshot, a version or "head", the last commit: then
    the heap is read-only, and another process may be writing it (this one then uses Heap.at). Use it with `with`, or close it.
    """
    handle = _handle()
    if at is None:
        _heap_open(_bytes(path), capacity, handle)
    else:
        _heap_open_past(_bytes(path), None if at == "head" else _bytes(str(at)), handle)
    return Heap(handle.value)


_NUMBERS = {
    "b": "int8_t", "h": "int16_t", "i": "int32_t", "q": "int64_t", "B": "uint8_t", "H": "uint16_t", "I": "uint32_t",
    "Q": "uint64_t", "f": "float", "d": "double", "?": "bool",
}


class Root:
    """The value of a root: `value` reads and writes it, `memory` is a memoryview of its bytes."""

    def __init__(self, heap, format, address):
        self._heap, self._format, self._address = heap, format, address

    @property
    def memory(self):
        """The value's bytes; what is stored through it is not declared."""
        return self._heap._view(self._address, self._format.size)

    @property
    def value(self):
        """A number, or a tuple where the format has several values or none that is a number."""
        values = self._format.unpack_from(self.memory)
        return values[0] if len(values) == 1 else values

    @value.setter
    def value(self, value):
        values = value if isinstance(value, (tuple, list)) else (value,)
        _heap_declare(self._heap._handle, self._address, self._format.size)
        self._format.pack_into(self.memory, 0, *values)


class _Transaction:
    """What Heap.transaction gives a `with`: it begins with that, and commits at the end, or undoes where that is an exception."""

    def __init__(self, heap, message, deferred, declared):
        # Before it begins: what is no message must not end it.
        self._heap, self._message, self._flags = heap, _bytes(message), int(deferred) | int(declared) << 1

    def __enter__(self):
        _heap_begin(self._heap._handle, self._flags)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            _heap_end(self._heap._handle, self._message, self._flags, _u64())
        else:
            _heap_cancel(self._heap._handle)


class Heap:
    """An open heap: open_heap makes one, and Store.heap. A block is named by its address, an int."""

    def __init__(self, handle):
        self._handle = handle
        self.read_only = bool(self.info().read_only)

    def close(self):
        """Closes the heap, and its store where open_heap opened that; what is not committed is lost. Closing again does
        nothing. Within a transaction it raises, and the heap stays open."""
        if not self._handle:
            return
        try:
            _heap_close(self._handle)
        except StoreError as error:
            if error.name != "wrongState":
                self._handle = None
            raise
        self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def info(self):
        """Figures: capacity, base, roots, read_only, relocated."""
        info = _HeapInfo(size=ctypes.sizeof(_HeapInfo))
        _heap_info(self._handle, info)
        return _Record(info)

    def _view(self, address, size):
        if not self._handle:
            raise ValueError("the heap was closed")
        view = _view(address, size, self)
        return view.toreadonly() if self.read_only else view

    def root(self, name, format, version=1):
        """The Root of that name, of zeros where it is made now.

        format is the struct module's: one of bBhHiIqQfd? is a number, the same as Swift's and C's of that size; others
        are little-endian and unpadded unless they begin with a sign for that. One that was made with another format is
        "layoutMismatch".
        """
        layout = struct.Struct(format if format[:1] in tuple("@=<>!") else "<" + format)
        address = _handle()
        _heap_root(self._handle, _bytes(name), _bytes(_NUMBERS.get(format, f"struct '{format}'")), version, layout.size, address)
        return Root(self, layout, address.value)

    def bytes(self, name, size=0, version=1):
        """A memoryview of a root of bytes; size is that of a new one."""
        address, size = _handle(), _u64(size)
        _heap_bytes(self._handle, _bytes(name), version, size, address)
        return self._view(address.value, size.value)

    def resize_bytes(self, name, size, version=1):
        """A memoryview of a root of bytes at its new length; what is new is zeros. Views made before are not valid."""
        address = _handle()
        _heap_bytes_resize(self._handle, _bytes(name), version, size, address)
        return self._view(address.value, size)

    def roots(self):
        """The roots, as RootInfo, in the order in which they were made."""
        return _visit(_heap_root_list, (self._handle,), _RootInfo, RootInfo)

    def alloc(self, size, alignment=16):
        """Takes a block of at least so many bytes; returns its address, which stays the same in later processes."""
        address = _heap_alloc_aligned(self._handle, size, alignment)
        if address is None:
            raise StoreError(_last_error().contents)
        return address

    def realloc(self, address, size):
        """Makes a block larger or smaller; returns its address from now on."""
        address = _heap_realloc(self._handle, address, size)
        if address is None:
            raise StoreError(_last_error().contents)
        return address

    def free(self, address):
        """Gives a block back."""
        _heap_free(self._handle, address)

    def usable_size(self, address):
        """The bytes that a block has."""
        size = _u64()
        _heap_usable_size(self._handle, address, size)
        return size.value

    def memory(self, address, size=None):
        """A memoryview of a block, all of it where no size is given."""
        usable = self.usable_size(address)
        if size is not None and not 0 <= size <= usable:
            raise ValueError(f"the block at {address:#x} has {usable} bytes, not {size}")
        return self._view(address, usable if size is None else size)

    def declare(self, address, size):
        """Says that a range is about to be stored to, for commit(declared=True)."""
        _heap_declare(self._handle, address, size)

    def commit(self, message="", snapshot=None, deferred=False, declared=False):
        """Makes all that changed one durable version; returns it."""
        version = _u64()
        _heap_commit(self._handle, _bytes(message), int(deferred) | int(declared) << 1, _bytes(snapshot), version)
        return version.value

    def abandon(self):
        """Undoes what is not committed, in place."""
        _heap_abandon(self._handle)

    def transaction(self, body=None, message="", deferred=False, declared=False):
        """Runs body() and commits what it changed; returns what it returns. Where it raises, every byte is what it was.

        Without a body, it is that of a `with`:

            with heap.transaction(message="transfer"):
                a.value -= 5
                b.value += 5
        """
        if body is None:
            return _Transaction(self, message, deferred, declared)
        results, failures = [], []

        def run(_):
            try:
                results.append(body())
                return 0
            except BaseException as error:
                failures.append(error)
                return 1

        code = _heap_transaction(self._handle, _bytes(message), int(deferred) | int(declared) << 1, _body(run), None)
        if failures:
            raise failures[0]
        if code:
            raise StoreError(_last_error().contents)
        return results[0]

    def snapshot(self, name, message=""):
        """Names the committed state; returns its version."""
        version = _u64()
        _heap_snapshot(self._handle, _bytes(name), _bytes(message), version)
        return version.value

    def rollback(self, state, message=""):
        """Makes the next version hold what the heap held in a state, a snapshot or a version; returns it."""
        version = _u64()
        _heap_rollback(self._handle, _bytes(str(state)), _bytes(message), version)
        return version.value

    def at(self, state):
        """The Heap as it was in a state, read-only, while this one goes on. Addresses that are stored in it mean nothing
        there."""
        past = _handle()
        _heap_past(self._handle, _bytes(str(state)), past)
        return Heap(past.value)
