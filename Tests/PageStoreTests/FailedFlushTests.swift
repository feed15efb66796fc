import Foundation
import Glibc
@testable import PageStore
import TestSupport
import Testing
import VMTypes

/// Whether a commit whose record could not be written or flushed took place is known once the store is reopened: until then it takes
/// no other, which would build on it.
///
/// In a process of its own, since the fault hits every store of a process.
@Suite struct FailedFlushTests {
    @Test(arguments: [1, 2]) func aStoreWhoseJournalFailedTakesNoCommit(call: Int) async {
        let folder = TemporaryFolder("flush", inMemory: true)
        await #expect(processExitsWith: .success) { [path = folder.path as String, call = call as Int] in
            alarm(60)
            _ = try PageStore.create(in: path, options: .init(ringBytes: 1 << 20))
            let store = try PageStore.open(path)
            let heap = Heap(pages: 4)
            let id = ObjectID(store.newID())
            let kept = try store.commit(
                [], operations: [.createObject(id: id, name: "", size: UInt64(heap.count), residency: .shared)])
            heap.fill(0, 7)
            // The first call is the record's writing, the second one its flush.
            Failpoint.fail(call: call, with: EIO)
            #expect { try store.commit([heap.layer(id, [0])]) } throws: { ($0 as? StoreError)?.code == .unknownOutcome }
            Failpoint.fail(call: 0, with: 0)
            heap.fill(1, 8)
            for _ in 0..<2 {
                #expect { try store.commit([heap.layer(id, [1])]) } throws: { ($0 as? StoreError)?.code == .poisoned }
            }
            #expect { try store.flush() } throws: { ($0 as? StoreError)?.code == .unknownOutcome }
            #expect(try firstWord(try store.head(of: id), 0) == 0)
            store.abandon()
            let again = try PageStore.open(path)
            // What one opening says, every later one does.
            let settled = again.lastVersion
            #expect(settled >= kept)
            let isDone = settled > kept
            #expect(try firstWord(try again.head(of: id), 0) == (isDone ? 7 : 0))
            #expect(try again.commit([heap.layer(id, [1])]) > settled)
            again.abandon()
        }
    }
}
