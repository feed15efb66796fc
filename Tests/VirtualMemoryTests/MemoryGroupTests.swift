import Foundation
import TestSupport
import Testing
import Varve

/// An object that is larger than the memory that a control group lets its process have.
@Suite struct MemoryGroupTests {
    /// Both ways of finding stores; whatever the host lets us do about absent pages. Each takes more than a minute: the command that
    /// runs all tests has time for one.
    private static let modes = Budget.name == "full" ? Array(TrimTests.modes.prefix(1)) : TrimTests.modes

    @Test(
        "an object several times as large as the process's memory is written, committed, changed, reopened and read",
        .enabled(if: MemoryGroup.reasonAgainst == nil, "no control group for memory: \(MemoryGroup.reasonAgainst ?? "")"),
        .enabled(if: Budget.name != "quick", "takes minutes"), .timeLimit(.minutes(20)), arguments: modes)
    func largerThanMemory(_ mode: Int) async throws {
        let group = try MemoryGroup(mebibytes: 128)
        await #expect(processExitsWith: .success) { [mode = mode as Int, path = group.path as String] in
            quietEnd(after: 1_000)
            let fixture = StoreFixture()
            try fixture.create(ring: 4 << 20)
            try MemoryGroup.join(path)
            var options = everyMode[mode]
            options.residency = ResidencyPolicy(limit: 24 << 20)
            let count: UInt64 = 65_536
            var store = try fixture.open(options)
            let task = try store.task(named: "main")
            let address = try task.map(
                size: count * 4096, object: try store.createObject(named: "a", size: count * 4096, residency: .exclusive))
            var model = [UInt64](repeating: 0, count: Int(count))
            func set(_ page: UInt64, _ value: UInt64) {
                model[Int(page)] = value
                let place = task.pointer(address + page * 4096).assumingMemoryBound(to: UInt64.self)
                for word in [0, 1, 255, 511] { place[word] = page << 16 | value }
            }
            func check(_ task: VMTask, _ page: UInt64) {
                let place = task.pointer(address + page * 4096).assumingMemoryBound(to: UInt64.self)
                for word in [0, 1, 255, 511] { precondition(place[word] == page << 16 | model[Int(page)], "page \(page)") }
            }
            func commit() throws {
                try store.commit()
                precondition(store.privateMemory.bytes <= 24 << 20 && store.privateMemory.failure == nil)
            }
            // Runs of 16 pages, scattered.
            for index in 0..<count {
                set(index / 16 * 40_503 % (count / 16) * 16 + index % 16, 1)
                if index % 2048 == 2047 { try commit() }
            }
            for page in 0..<count { check(task, page) }
            var random = SeededGenerator(seed: UInt64(mode))
            for round in 2..<6 as Range<UInt64> {
                for _ in 0..<512 {
                    set(UInt64.random(in: 0..<count, using: &random), round)
                    check(task, UInt64.random(in: 0..<count, using: &random))
                }
                try commit()
            }
            try store.close()
            store = try fixture.open(options)
            let again = try store.task(named: "main")
            for page in 0..<count { check(again, page) }
            try store.close()
        }
    }
}
