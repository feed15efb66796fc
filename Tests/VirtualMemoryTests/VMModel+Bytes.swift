import Varve

/// The calls that move bytes, on the model.
extension VMModel {
    private func pieces(_ name: String, _ address: UInt64, _ size: UInt64, _ access: Protection) throws -> Range<UInt64>? {
        guard let range = try Self.outward(address, size) else { return nil }
        try checked(name, range) { if !access.isSubset(of: $0.current) { throw Refusal(.protectionFailure) } }
        try checked(name, range) { if $0.page >= working.objects[$0.object]!.livePages { throw Refusal(.memoryError) } }
        return range
    }

    func read(_ name: String, _ address: UInt64, _ size: UInt64) throws -> [UInt8] {
        guard let range = try pieces(name, address, size, .read) else { return [] }
        var bytes: [UInt8] = []
        for page in range {
            let slot = working.tasks[name]!.map[page]!
            bytes += working.objects[slot.object]!.bytes[Int(slot.page) * 4096..<(Int(slot.page) + 1) * 4096]
        }
        let skipped = Int(address % 4096)
        return Array(bytes[skipped..<skipped + Int(size)])
    }

    mutating func write(_ name: String, _ address: UInt64, _ bytes: [UInt8]) throws {
        guard let range = try pieces(name, address, UInt64(bytes.count), .write) else { return }
        for page in range { store(name, page, address, bytes) }
    }

    private mutating func store(_ name: String, _ page: UInt64, _ address: UInt64, _ bytes: [UInt8]) {
        let slot = working.tasks[name]!.map[page]!
        let from = max(address, page << 12), to = min(address + UInt64(bytes.count), (page + 1) << 12)
        let target = Int(slot.page) * 4096 + Int(from - page << 12)
        let part = bytes[Int(from - address)..<Int(to - address)]
        working.objects[slot.object]!.bytes.replaceSubrange(target..<target + part.count, with: part)
    }

    mutating func copy(_ name: String, _ source: UInt64, _ size: UInt64, to destination: UInt64) throws {
        let bytes = try read(name, source, size)
        try write(name, destination, bytes)
    }

    /// Whether a range shows bytes past an object's size in its last page, which nothing promises to keep.
    func showsTail(_ name: String, _ address: UInt64, _ size: UInt64) -> Bool {
        guard let range = try? Self.outward(address, size), let map = working.tasks[name]?.map else { return false }
        return map.contains { page, slot in
            guard range.contains(page), let object = working.objects[slot.object] else { return false }
            return object.size % 4096 != 0 && slot.page == UInt64(object.size / 4096)
        }
    }

    /// Whether a range shows a copy that no commit has made: of it nothing says what its last committed bytes are.
    func showsUncommittedCopy(_ name: String, _ address: UInt64, _ size: UInt64) -> Bool {
        guard let range = try? Self.outward(address, size), let map = working.tasks[name]?.map else { return false }
        return map.contains { page, slot in
            range.contains(page) && working.objects[slot.object]!.isCopy && committed.objects[slot.object] == nil
        }
    }

    mutating func sync(_ name: String, _ address: UInt64, _ size: UInt64, _ flags: SyncFlags) throws {
        if !flags.isSubset(of: .all) || flags.isSuperset(of: [.asynchronous, .synchronous]) { throw Refusal(.invalidArgument) }
        guard let range = try Self.outward(address, size) else { return }
        if flags.contains(.contiguous) { try checked(name, range) }
        if flags.contains(.killPages) { drop(name, range) }
        if flags.contains(.synchronous) || flags.contains(.asynchronous) { commit() }
        if flags.contains(.invalidate) { drop(name, range) }
    }

    private mutating func drop(_ name: String, _ range: Range<UInt64>) {
        for (page, slot) in working.tasks[name]!.map where range.contains(page) {
            guard slot.page < working.objects[slot.object]!.livePages else { continue }
            let part = Int(slot.page) * 4096..<(Int(slot.page) + 1) * 4096
            let old = committed.objects[slot.object].map { Array($0.bytes[part]) } ?? [UInt8](repeating: 0, count: 4096)
            working.objects[slot.object]!.bytes.replaceSubrange(part, with: old)
        }
    }

    mutating func setBehavior(_ name: String, _ address: UInt64, _ size: UInt64, _ behavior: MemoryBehavior) throws {
        guard let range = try Self.outward(address, size) else { return }
        guard behavior.changesBytes else { return try checked(name, range) }
        guard let range = try pieces(name, address, size, .write) else { return }
        try write(name, range.lowerBound << 12, [UInt8](repeating: 0, count: range.count << 12))
    }
}
