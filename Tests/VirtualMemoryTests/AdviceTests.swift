import Foundation
import TestSupport
import Testing
import Varve

/// vm_behavior_set: that advice reaches the host.
@Suite struct AdviceTests {
    private let page = Bench.page

    /// The kernel's flags of the mapping that shows an address.
    private func flags(_ address: UInt64) throws -> Set<String> {
        var isIn = false
        for line in try String(contentsOfFile: "/proc/self/smaps", encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ")
            let bounds = words[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            if bounds.count == 2 {
                isIn = bounds[0] <= address && address < bounds[1]
            } else if isIn, words[0] == "VmFlags:" {
                return Set(words.dropFirst().map(String.init))
            }
        }
        throw Complaint("nothing is mapped at \(String(address, radix: 16))")
    }

    @Test(arguments: [Residency.shared, .exclusive])
    func randomAndSequentialReachTheHostForTheRangeAlone(_ residency: Residency) throws {
        for options in everyMode {
            let bench = try Bench(options)
            let object = try bench.store.createObject(named: "a", size: 16 * page, residency: residency)
            let address = try bench.task.map(size: 16 * page, object: object)
            func look(_ number: UInt64) throws -> Set<String> { try flags(address + number * page).intersection(["rr", "sr"]) }
            #expect(try look(0) == [] && look(8) == [])
            try bench.task.setBehavior(address: address + 4 * page, size: 8 * page, .random)
            #expect(try look(3) == [] && look(4) == ["rr"] && look(11) == ["rr"] && look(12) == [])
            try bench.task.setBehavior(address: address + 4 * page, size: 4 * page, .sequential)
            #expect(try look(4) == ["sr"] && look(8) == ["rr"])
            for behavior in [MemoryBehavior.default, .reverseSequential] {
                try bench.task.setBehavior(address: address, size: 16 * page, .random)
                try bench.task.setBehavior(address: address, size: 16 * page, behavior)
                #expect(try look(0) == [] && look(4) == [] && look(15) == [])
            }
            try bench.store.close()
        }
    }
}
