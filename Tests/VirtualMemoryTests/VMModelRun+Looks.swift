import TestSupport
import Varve

/// Calls that look, and calls that must not do anything.
extension VMModelRun {
    /// vm_read_overwrite: the bytes of vm_read, in memory of the caller's, which a call that fails leaves as it was.
    func readOverwrite(_ name: String, _ start: UInt64, _ count: UInt64) throws {
        // No range that can be read is longer.
        let most = Int(min(count, 1 << 24))
        var target = [UInt8](repeating: 0xa5, count: most + 1)
        let expected = try call("read_overwrite \(name) \(start) \(count)", { try $0.read(name, start, count) }) { _ in
            try target.withUnsafeMutableBytes { try self.handle(name).readOverwrite(address: start, size: count, into: $0.baseAddress!) }
        }
        guard store != nil else { return }
        let wanted = (expected ?? []) + [UInt8](repeating: 0xa5, count: target.count - (expected?.count ?? 0))
        if target != wanted { throw Mismatch("read_overwrite \(start) \(count) of \(name): other bytes") }
    }

    /// vm_map_page_query.
    func query(_ name: String, _ random: inout SeededGenerator) throws {
        let address = address(name, &random)
        var found: PageDisposition = []
        let slot = try call("query \(name) \(address)", { try $0.slot(name, address) }) { _ in
            found = try self.handle(name).queryPage(address)
        }
        guard store != nil, let slot, let object = model.working.objects[slot.object] else { return }
        func expect(_ isSo: Bool, _ what: String) throws {
            if !isSo { throw Mismatch("the page at \(address) of \(name) is \(found), \(slot): \(what)") }
        }
        try expect(found.contains(.copied) == slot.copied, "copied, or not")
        try expect(!found.isSuperset(of: [.present, .pagedOut]), "in memory, and not")
        guard slot.page < object.livePages else { return try expect(found.isSubset(of: .copied), "it is beyond the object's end") }
        guard let old = model.committed.objects[slot.object], slot.page < old.livePages else { return }
        let range = Int(slot.page) * 4096..<(Int(slot.page) + 1) * 4096
        let wasZero = old.bytes[range].allSatisfy { $0 == 0 }, isZero = object.bytes[range].allSatisfy { $0 == 0 }
        if object.bytes[range] != old.bytes[range] { try expect(found.contains(.dirty), "it was stored to") }
        if wasZero, isZero { try expect(!found.contains(.pagedOut), "nobody has bytes of it") }
        if !wasZero { try expect(!found.isDisjoint(with: [.present, .pagedOut]), "the commit's bytes are somewhere") }
    }

    /// Whatever is asked of the handle of a task that is no more.
    func callTerminated(_ random: inout SeededGenerator) throws {
        let which = UInt64.random(in: 0...UInt64.max, using: &random), number = Int.random(in: 0..<15, using: &random)
        let address = UInt64.random(in: 0...UInt64.max, using: &random) >> UInt64.random(in: 0..<64, using: &random)
        let size = UInt64.random(in: 0...UInt64.max, using: &random) >> UInt64.random(in: 0..<64, using: &random)
        guard store != nil, !terminated.isEmpty else { return }
        let task = terminated[Int(which % UInt64(terminated.count))]
        let protection = Protection(rawValue: Int32(truncatingIfNeeded: which >> 60))
        var byte: UInt8 = 0
        try call("call \(number) of a terminated \(task.name)", { _ in throw Refusal(.terminated) } as (inout VMModel) throws -> Void) { _ in
            switch number {
            case 0: try task.map(address: address, size: size, mask: which, anywhere: which % 2 == 0, current: protection)
            case 1: try task.allocate(address: address, size: size)
            case 2: try task.deallocate(address: address, size: size)
            case 3: try task.protect(address: address, size: size, setMaximum: which % 2 == 0, protection)
            case 4: try task.inherit(address: address, size: size, .share)
            case 5: try task.remap(size: size, source: task, sourceAddress: address)
            case 6: _ = try task.region(address)
            case 7: _ = try task.read(address: address, size: size)
            case 8: try task.readOverwrite(address: address, size: min(size, 1), into: &byte)
            case 9: try withUnsafeBytes(of: byte) { try task.write(address: address, $0) }
            case 10: try task.copy(source: address, size: size, destination: which)
            case 11: try task.sync(address: address, size: size, SyncFlags(rawValue: UInt32(truncatingIfNeeded: which % 128)))
            case 12: try task.setBehavior(address: address, size: size, .zero)
            case 13: _ = try task.queryPage(address)
            default: try task.wire(address: address, size: size, access: protection)
            }
        }
        if byte != 0 { throw Mismatch("a terminated \(task.name) was read") }
    }
}
