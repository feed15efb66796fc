import TestSupport
import Testing
import Varve

/// Advice changes no byte, and hides no store from a commit.
@Suite struct PageOutTests {
    @Test(arguments: [nil, DirtyTracking.signal, .asyncWriteProtect], [MemoryBehavior.pageOut, .dontNeed])
    func whatWasStoredBeforeTheAdviceIsCommitted(tracking: DirtyTracking?, behavior: MemoryBehavior) throws {
        let folder = TemporaryFolder("pageout")
        try Store.create(folder.path + "/s")
        for residency in [false, true] {
            let store = try Store.open(folder.path + "/s", options: .init(tracking: tracking))
            let task = try store.task(named: "t\(residency)")
            let size: UInt64 = 5 * 4096
            let address = residency
                ? try task.map(size: size, object: try store.createObject(named: "o", size: size, residency: .exclusive))
                : try task.allocate(size: size)
            for value in 1...3 as ClosedRange<UInt64> {
                for page in 2..<4 as Range<UInt64> { task.pointer(address + page * 4096).storeBytes(of: value, as: UInt64.self) }
                let before = try task.region(address).dirtyPages
                try task.setBehavior(address: address + 8192, size: 3 * 4096, behavior)
                let after = try task.region(address).dirtyPages
                #expect(before >= 2 && after >= 2, "\(residency) \(value): \(before), \(after)")
                try store.commit()
                try store.abandon()
                for page in 2..<4 as Range<UInt64> { #expect(task.pointer(address + page * 4096).load(as: UInt64.self) == value) }
            }
            try store.close()
            let again = try Store.open(folder.path + "/s", options: .init(tracking: tracking))
            let attached = try again.task(named: "t\(residency)")
            for page in 2..<4 as Range<UInt64> { #expect(attached.pointer(address + page * 4096).load(as: UInt64.self) == 3) }
            try again.close()
        }
    }
}
