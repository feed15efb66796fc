"""Tests of varve.py: python3 test_varve.py, with VARVE_LIBRARY or an installed library."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import unittest

import varve

PAGE = 4096


class StoreTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = self.folder.name + "/s.varve"
        varve.create(self.path, ring_bytes=1 << 20)
        self.store = varve.open(self.path)
        self.task = self.store.task("main")
        # Before the folder goes.
        self.addCleanup(lambda: self.store.close())

    def reopen(self):
        self.store.close()
        self.store = varve.open(self.path)
        self.task = self.store.task("main")

    def fails(self, name, call, *arguments, **named):
        with self.assertRaises(varve.Error) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.name, name)
        return caught.exception

    def map(self, name, pages, **named):
        return self.task.map(pages * PAGE, object=self.store.create_object(name, pages * PAGE), **named)


class MapTests(StoreTest):
    def test_memory_persists_at_its_address(self):
        address = self.map("o", 2)
        memory = self.task.memory(address, 2 * PAGE).cast("Q")
        memory[0], memory[512] = 41, 2**64 - 1
        version = self.store.commit("first")
        self.assertEqual(self.store.info().version, version)
        memory[0] = 0
        del memory
        self.reopen()
        memory = self.task.memory(address, 2 * PAGE).cast("Q")
        self.assertEqual((memory[0], memory[512]), (41, 2**64 - 1))

    def test_views_of_what_may_not_be_written(self):
        address = self.map("o", 2)
        self.task.protect(address + PAGE, PAGE, varve.PROT_READ)
        self.assertFalse(self.task.memory(address, PAGE).readonly)
        self.assertTrue(self.task.memory(address, 2 * PAGE).readonly)
        self.assertEqual(len(self.task.memory(address, 0)), 0)
        self.fails("INVALID_ADDRESS", self.task.memory, address, 3 * PAGE)
        self.task.protect(address, PAGE, varve.PROT_NONE)
        self.fails("PROTECTION_FAILURE", self.task.memory, address, PAGE)

    def test_codes(self):
        error = self.fails("INVALID_ARGUMENT", self.task.map, 0)
        self.assertIsInstance(error, varve.KernError)
        self.assertEqual((error.code, error.path, error.errno), (4, None, 0))
        self.assertIn("0 bytes", str(error))
        base, size = self.task.window
        self.fails("INVALID_ARGUMENT", self.task.map, PAGE, inheritance=3)
        self.fails("INVALID_ARGUMENT", self.task.map, PAGE, cur=8, max=8)
        self.fails("INVALID_ADDRESS", self.task.map, PAGE, address=base - PAGE, anywhere=False)
        self.fails("NO_SPACE", self.task.map, size + PAGE)
        reading = self.store.create_object("o", PAGE).port(varve.PROT_READ)
        self.fails("PROTECTION_FAILURE", self.task.map, PAGE, object=reading)
        self.store.delete_object("o")
        self.fails("INVALID_OBJECT", self.task.map, PAGE, object=reading, cur=1, max=1)

    def test_copies_and_sharing(self):
        address = self.map("o", 1)
        shared, copied = self.task.map(PAGE, object=self.store.object("o")), self.task.map(PAGE, object=self.store.object("o"), copy=True)
        self.task.memory(address, PAGE)[0] = 7
        self.assertEqual((self.task.memory(shared, PAGE)[0], self.task.memory(copied, PAGE)[0]), (7, 0))

    def test_remap_and_entries(self):
        address = self.task.allocate(2 * PAGE)
        self.task.write(address, b"hello")
        other, cur, max = self.task.remap(PAGE, self.task, address)
        self.assertEqual((self.task.read(other, 5), cur, max), (b"hello", varve.PROT_DEFAULT, varve.PROT_ALL))
        entry = self.task.memory_entry(address, PAGE, varve.PROT_READ)
        seen = self.task.map(PAGE, object=entry, cur=varve.PROT_READ, max=varve.PROT_READ)
        self.assertEqual(bytes(self.task.memory(seen, 5)), b"hello")
        self.fails("PROTECTION_FAILURE", self.task.map, PAGE, object=entry)

    def test_regions(self):
        first = self.task.allocate(PAGE)
        second = self.task.allocate(PAGE, address=first + 4 * PAGE, anywhere=False)
        self.assertEqual([region.address for region in self.task.regions()], [first, second])
        region = self.task.region(first + PAGE)
        self.assertEqual((region.address, region.size, region.protection), (second, PAGE, varve.PROT_DEFAULT))
        self.assertIn("max_protection=7", repr(region))
        self.task.deallocate(first, PAGE)
        self.task.inherit(second, PAGE, varve.INHERIT_NONE)
        self.assertEqual([region.inheritance for region in self.task.regions()], [varve.INHERIT_NONE])

    def test_bytes_and_residency(self):
        address = self.map("o", 2)
        self.task.write(address + PAGE - 2, b"abcd")
        self.task.copy(address + PAGE - 2, 4, address)
        self.assertEqual(self.task.read(address, 4), b"abcd")
        self.task.msync(address, PAGE)
        self.assertEqual(self.store.read("o", 0, 4), b"abcd")
        self.task.behavior_set(address, PAGE, varve.BEHAVIOR_ZERO)
        self.task.msync(address, PAGE, varve.SYNC_INVALIDATE)
        self.assertEqual(self.task.read(address, 4), b"abcd")
        self.task.memory(address, 1)[0] = 1
        self.assertTrue(self.task.page_query(address) & varve.PAGE_DIRTY)
        self.task.wire(address, PAGE, varve.PROT_READ)
        self.assertEqual(self.task.region(address).wired_count, 1)
        self.task.wire(address, PAGE, varve.PROT_NONE)

    def test_children(self):
        address = self.task.allocate(PAGE)
        self.task.write(address, b"parent")
        child = self.task.child("child")
        at = address - self.task.window[0] + child.window[0]
        self.task.write(address, b"later!")
        self.assertEqual(child.read(at, 6), b"parent")
        child.terminate()
        self.fails("TERMINATED", child.read, at, 6)


class HistoryTests(StoreTest):
    def test_private_memory_is_given_back(self):
        self.assertEqual(self.store.trim(), 0)
        self.store.set_residency(limit=1 << 20)
        self.store.commit()
        self.store.set_residency()
        self.assertEqual(self.store.trim(bytes=4096), 0)

    def test_commit_abandon_rollback(self):
        address = self.map("o", 1)
        memory = self.task.memory(address, PAGE)
        memory[0] = 1
        first = self.store.commit("one", snapshot="first")
        memory[0] = 2
        self.assertTrue(self.store.changed)
        self.store.commit("two", deferred=True)
        self.store.flush()
        memory[0] = 3
        self.store.abandon()
        self.assertEqual(memory[0], 2)
        self.assertFalse(self.store.changed)
        self.assertEqual([(s.name, s.version, s.object) for s in self.store.snapshots()], [("first", first, 0)])
        [difference] = self.store.diff("first")
        self.assertEqual((difference.name, difference.kind, difference.changed_bytes), ("o", 3, 1))
        with_view = self.store.map_state("o@first")
        self.store.rollback("first")
        self.assertEqual((memory[0], with_view.bytes[0]), (1, 1))
        self.assertTrue(with_view.bytes.readonly)
        self.store.rollback(first, object="o")
        self.assertIn("two", [entry.message for entry in self.store.log()])
        self.store.rename_snapshot("first", "second")
        self.store.delete_snapshot("second")
        self.fails("notFound", self.store.rollback, "first")

    def test_tasks_of_the_past(self):
        address = self.map("o", 1)
        self.task.memory(address, 1)[0] = 1
        self.store.commit(snapshot="then")
        self.task.memory(address, 1)[0] = 2
        clone = self.store.clone_task("main", "clone", "then")
        self.assertEqual(clone.read(address - self.task.window[0] + clone.window[0], 1), b"\x01")
        self.store.commit()
        self.assertEqual((self.store.tasks(), self.store.tasks("then")), (["clone", "main"], ["main"]))

    def test_declared(self):
        address = self.map("o", 2)
        self.store.commit()
        self.task.touch(address, 1)
        self.task.memory(address, 1)[0] = 9
        self.store.commit(declared=True)
        self.assertEqual(self.store.read("o")[0], 9)


class ObjectTests(StoreTest):
    def test_objects(self):
        made = self.store.create_object("one", 100, exclusive=True, message="made")
        self.assertEqual(self.store.object(f"#{made.number}").number, made.number)
        self.assertGreater(self.store.write("one", 95, b"12345"), 0)
        self.fails("invalid", self.store.write, "one", 96, b"12345")
        self.store.clone("one", "two")
        self.store.resize_object("one", 50)
        self.store.rename_object("two", "three")
        self.assertEqual({info.name: info.size for info in self.store.objects()}, {"one": 50, "three": 100})
        self.assertEqual((self.store.read("three", 95), self.store.size("three")), (b"12345", 100))
        file = self.folder.name + "/file"
        self.store.export("three", file)
        self.fails("exists", self.store.export, "three", file, overwrite=False)
        self.assertEqual(self.store.import_file(file, "four").number, self.store.object("four").number)
        self.store.delete_object("three")
        error = self.fails("notFound", self.store.object, "three")
        self.assertIsInstance(error, varve.StoreError)
        self.assertIn("three", error.message)

    def test_host_files(self):
        file = self.folder.name + "/file"
        with open(file, "wb") as made:
            made.write(b"a" * 2 * PAGE)
        based = self.store.object_of_file(file, "based")
        self.assertEqual(self.store.object_of_file(file, "based").number, based.number)
        served = self.store.serve_file(file)
        at = self.task.map(2 * PAGE, object=served)
        self.task.memory(at, 2 * PAGE)[PAGE] = ord("b")
        self.store.commit()
        with open(file, "rb") as changed:
            self.assertEqual(changed.read()[PAGE - 1:PAGE + 2], b"aba")
        self.assertEqual(self.store.read("based", PAGE, 1), b"a")
        self.fails("INVALID_OBJECT", self.store.serve_file, self.folder.name + "/nothing")
        self.fails("PROTECTION_FAILURE", self.task.map, PAGE, object=self.store.serve_file(file, writable=False))

    def test_stores(self):
        self.fails("storeExists", varve.create, self.path)
        error = self.fails("noStore", varve.open, self.folder.name + "/nothing")
        self.assertIn("nothing", error.path)
        self.store.create_object("o", 5)
        copy = self.folder.name + "/copy.varve"
        self.store.backup(copy)
        with varve.open(copy, varve.OPEN_READ) as reader:
            self.assertFalse(reader.info().writes)
            self.assertEqual(reader.read("o"), bytes(5))
            self.fails("locked", reader.task, "main")
        reader.close()
        self.fails("invalid", reader.flush)
        with self.assertRaises(RuntimeError), varve.open(copy):
            raise RuntimeError
        self.assertEqual(varve.open(copy).close(), None)

    def test_a_killed_process_loses_what_it_did_not_commit(self):
        address = self.map("o", 1)
        self.store.commit()
        self.store.close()
        program = (
            f"import os, varve\nstore = varve.open({self.path!r})\nmemory = store.task('main').memory({address}, 4096)\n"
            "memory[0] = 1\nstore.commit()\nmemory[0] = 2\nos.kill(os.getpid(), 9)\n")
        environment = {**os.environ, "PYTHONPATH": os.path.dirname(varve.__file__)}
        child = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
        self.assertEqual(child.returncode, -signal.SIGKILL)
        self.store = varve.open(self.path)
        self.assertEqual(self.store.task("main").memory(address, 1)[0], 1)


class HeapTests(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = self.folder.name + "/h.varve"
        self.heap = varve.open_heap(self.path, capacity=1 << 24)
        self.addCleanup(lambda: self.heap.close())

    def reopen(self):
        self.heap.close()
        self.heap = varve.open_heap(self.path)

    def fails(self, name, call, *arguments, **named):
        with self.assertRaises(varve.StoreError) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.name, name)
        return caught.exception

    def test_roots(self):
        n = self.heap.root("n", "q")
        account = self.heap.root("account", "8sd")
        self.assertEqual((n.value, account.value), (0, (bytes(8), 0.0)))
        n.value -= 3
        account.value = b"savings", 12.5
        self.heap.commit()
        n.value = 0
        self.reopen()
        self.assertEqual(self.heap.root("n", "q").value, -3)
        self.assertEqual(self.heap.root("account", "8sd").value, (b"savings\0", 12.5))
        error = self.fails("layoutMismatch", self.heap.root, "n", "d")
        self.assertIn("Int64", str(error))
        self.fails("layoutMismatch", self.heap.root, "account", "8sq")
        self.fails("versionMismatch", self.heap.root, "n", "q", version=2)
        self.assertEqual(
            [(root.name, root.type) for root in self.heap.roots()], [("n", "Int64"), ("account", "struct '8sd'[16 bytes]")])

    def test_numbers(self):
        for format, value in [("b", -1), ("B", 255), ("h", -2), ("H", 65535), ("i", -3), ("I", 7), ("Q", 2**64 - 1), ("f", 0.5), ("d", 0.1), ("?", True)]:
            root = self.heap.root(format, format)
            root.value = value
            self.assertEqual(self.heap.root(format, format).value, value)

    def test_bytes(self):
        view = self.heap.bytes("text", 5)
        view[:] = b"hello"
        longer = self.heap.resize_bytes("text", 100000)
        self.assertEqual(bytes(longer[:6]), b"hello\0")
        longer[99999] = 1
        del view, longer
        self.heap.commit()
        self.reopen()
        self.assertEqual(len(self.heap.bytes("text")), 100000)
        self.assertEqual(self.heap.bytes("text")[99999], 1)
        self.assertEqual(len(self.heap.resize_bytes("text", 0)), 0)

    def test_blocks(self):
        address = self.heap.alloc(100)
        self.heap.memory(address)[:3] = b"abc"
        self.heap.root("first", "Q").value = address
        self.heap.commit()
        self.reopen()
        address = self.heap.root("first", "Q").value
        self.assertEqual(bytes(self.heap.memory(address, 3)), b"abc")
        address = self.heap.realloc(address, 50000)
        self.assertGreaterEqual(self.heap.usable_size(address), 50000)
        self.assertEqual(bytes(self.heap.memory(address, 3)), b"abc")
        self.heap.free(address)
        self.fails("notAllocated", self.heap.free, address)
        self.fails("notAllocated", self.heap.memory, address)
        self.fails("full", self.heap.alloc, 1 << 30)
        self.assertRaises(ValueError, self.heap.memory, self.heap.alloc(16), 17)
        self.assertEqual(self.heap.alloc(1, alignment=4096) % 4096, 0)

    def test_declared_commits_and_abandoning(self):
        n = self.heap.root("n", "q")
        self.heap.commit()
        n.value = 5
        version = self.heap.commit("five", declared=True)
        n.value = 6
        self.heap.abandon()
        self.assertEqual(n.value, 5)
        self.assertEqual(self.heap.commit(), version)
        self.heap.close()
        self.assertRaises(ValueError, lambda: n.value)

    def test_a_heap_of_an_open_store(self):
        self.heap.close()
        with varve.open(self.path) as store:
            heap = store.heap("second", capacity=1 << 20)
            heap.root("n", "q").value = 1
            heap.commit("one", snapshot="first")
            self.assertEqual([snapshot.name for snapshot in store.snapshots()], ["first"])
            self.assertEqual(store.heap("heap").info().capacity, 1 << 24)
            heap.close()
        self.fails("invalid", heap.commit)

    def test_the_past(self):
        n = self.heap.root("n", "q")
        n.value = 1
        version = self.heap.commit()
        self.heap.snapshot("one")
        self.fails("exists", self.heap.snapshot, "one")
        n.value = 2
        self.heap.commit()
        with self.heap.at("one") as past:
            self.assertEqual((past.root("n", "q").value, n.value), (1, 2))
            self.assertTrue(past.root("n", "q").memory.readonly)
            self.fails("readOnly", past.alloc, 8)
            with self.assertRaises(varve.StoreError):
                past.root("n", "q").value = 3
        self.heap.rollback(version, "back")
        self.assertEqual(n.value, 1)
        self.fails("notFound", self.heap.at, "two")
        self.heap.close()
        for state in ["head", "one", version]:
            with varve.open_heap(self.path, at=state) as past:
                self.assertEqual(past.root("n", "q").value, 1)

    def test_transactions(self):
        n = self.heap.root("n", "q")
        self.fails("uncommittedChanges", self.heap.transaction, lambda: None)
        self.heap.commit()

        def add(amount):
            n.value += amount
            if n.value > 5:
                raise OverflowError("too much")
            return n.value

        self.assertEqual(self.heap.transaction(lambda: add(3), "three"), 3)
        self.assertRaises(OverflowError, self.heap.transaction, lambda: add(3))
        self.assertEqual(n.value, 3)

    def test_transactions_of_a_with(self):
        n = self.heap.root("n", "q")
        with self.assertRaises(varve.StoreError) as caught:
            with self.heap.transaction():
                pass
        self.assertEqual(caught.exception.name, "uncommittedChanges")
        self.heap.commit()
        with self.heap.transaction(message="one", declared=True):
            n.value += 1
            with self.heap.transaction():
                n.value += 1
            self.fails("wrongState", self.heap.close)
            self.fails("wrongState", self.heap.commit)
        self.assertEqual(n.value, 2)
        self.assertFalse(self.heap.roots() == [])
        with self.assertRaises(OverflowError):
            with self.heap.transaction():
                n.value = 9
                raise OverflowError("too much")
        self.assertEqual(n.value, 2)
        with self.assertRaises(varve.StoreError) as caught:
            with self.heap.transaction():
                n.value = 9
                with contextlib.suppress(OverflowError):
                    with self.heap.transaction():
                        raise OverflowError("within")
        self.assertEqual((caught.exception.name, n.value), ("doomed", 2))
        with self.heap.transaction():
            n.value = 3
        self.heap.snapshot("three")
        with self.heap.at("three") as past:
            self.assertEqual(past.root("n", "q").value, 3)

    def test_numbers_are_those_of_swift(self):
        self.heap.root("count", "Q").value = 9
        self.assertEqual(self.heap.roots()[0].type, "UInt64")


if __name__ == "__main__":
    unittest.main()
