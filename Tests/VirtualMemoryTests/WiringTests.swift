import Foundation
import TestSupport
import Testing
import Varve

/// vm_wire pins: the host keeps the pages, as often as they were wired and until they are unwired as often.
@Suite struct WiringTests {
    private let page = Bench.page

    /// The kernel gives a part at a time, which does not mean that there is no more.
    private func mappings() throws -> [UInt8] {
        let file = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC)
        try #require(file >= 0)
        defer { close(file) }
        var all: [UInt8] = [], part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(file, &part, part.count)
            try #require(count >= 0)
            if count == 0 { return all }
            all += part[..<count]
        }
    }

    /// Whether the host has the mapping at an address locked.
    private func isLocked(_ address: UInt64) throws -> Bool {
        var isHere = false
        for line in String(decoding: try mappings(), as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("VmFlags:") {
                if isHere { return line.split(separator: " ").contains("lo") }
                continue
            }
            let bounds = line.prefix { $0 != " " }.split(separator: "-").compactMap { UInt64($0, radix: 16) }
            if bounds.count == 2, !line.hasPrefix(" ") { isHere = bounds[0] <= address && address < bounds[1] }
        }
        return false
    }

    @Test(arguments: everyMode, [Residency.shared, .exclusive])
    func wiredPagesAreInMemoryAndLocked(_ options: Store.OpenOptions, _ residency: Residency) throws {
        let bench = try Bench(options)
        let object = try bench.store.createObject(named: "a", size: 8 * page, residency: residency)
        let address = try bench.task.map(size: 8 * page, object: object)
        try bench.task.wire(address: address + 2 * page, size: 3 * page, access: .read)
        try bench.task.wire(address: address + 2 * page, size: page, access: .default)
        #expect(try bench.task.region(address + 3 * page).residentPages == 2)
        #expect(try isLocked(address + 2 * page) && isLocked(address + 4 * page))
        #expect(try !isLocked(address) && !isLocked(address + 5 * page))
        try bench.task.wire(address: address + 2 * page, size: 3 * page, access: .none)
        #expect(try isLocked(address + 2 * page) && !isLocked(address + 3 * page))
        try bench.task.wire(address: address + 2 * page, size: page, access: .none)
        #expect(try !isLocked(address + 2 * page))
        #expect(try bench.refused { try bench.task.wire(address: address + 2 * page, size: page, access: .none) } == .invalidArgument)
        try bench.store.close()
    }

    @Test func theReasonOfAnAccessBeyondTheEndCanBeRead() throws {
        let bench = try Bench()
        for residency in [Residency.shared, .exclusive] {
            let object = try bench.store.createObject(named: "\(residency)", size: page + 1, residency: residency)
            let address = try bench.task.map(size: 4 * page, object: object)
            for inside in [address, address + 2 * page - 1] { #expect(bench.task.lastFault(inside) == nil) }
            let fault = try #require(bench.task.lastFault(address + 3 * page + 5))
            #expect(fault.object == object.id && fault.offset == 3 * page && fault.code == .memoryError)
            #expect(fault.reason.contains("beyond") && fault.reason.contains("\(page + 1)"))
        }
        try bench.store.close()
    }
}
