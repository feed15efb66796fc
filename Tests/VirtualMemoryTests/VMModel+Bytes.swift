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

    /// The page at an address.
    func slot(_ name: String, _ address: UInt64) throws -> Slot {
        guard let slot = working.tasks[name]!.map[address >> 12] else { throw Refusal(.invalidAddress) }
        return slot
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
        let target = try pieces(name, destination, size, .write)
        guard let target, isExchanged(name, source, size, destination) else { return try write(name, destination, bytes) }
        // Copies stand in the place of the memory that was there.
        let map = working.tasks[name]!.map
        var made = 0
        for (index, page) in target.enumerated() {
            let from = map[source >> 12 + UInt64(index)]!, old = map[page]!
            if index == 0 || !isOneRegion(map[source >> 12 + UInt64(index) - 1]!, from) {
                made = copy(of: from.object)
                let object = working.objects[from.object]!
                working.objects[made]!.size = object.bytes.count
                working.objects[made]!.isCopy = false
                working.objects[made]!.beneath = [:]
            }
            let replaced = working.objects[old.object]!, part = Int(old.page) * 4096..<(Int(old.page) + 1) * 4096
            if replaced.isCopy, committed.objects[old.object] == nil { working.objects[made]!.isCopy = true }
            working.objects[made]!.beneath![from.page] =
                replaced.beneath?[old.page] ?? committed.objects[old.object].map { Array($0.bytes[part]) }
            working.tasks[name]!.map[page]!.object = made
            working.tasks[name]!.map[page]!.page = from.page
        }
    }

    /// Whether vm_copy shows copies of the source, not moving bytes.
    private func isExchanged(_ name: String, _ source: UInt64, _ size: UInt64, _ destination: UInt64) -> Bool {
        guard (source | size | destination) & 4095 == 0, source != destination else { return false }
        let map = working.tasks[name]!.map
        let from = source >> 12..<(source + size) >> 12, to = destination >> 12..<(destination + size) >> 12
        let isWhole = from.allSatisfy { page in
            let slot = map[page]!
            return slot.page < UInt64(working.objects[slot.object]!.size / 4096)
        }
        return isWhole && to.allSatisfy { page in
            let slot = map[page]!, object = working.objects[slot.object]!
            guard slot.wired == 0, object.name == nil else { return false }
            let isHeld = (Array(entries.values) + released).contains { $0.pages.contains { $0.object == slot.object } }
            let isSaved = working.tasks.contains { other, task in
                !attached.contains(other) && task.map.values.contains { $0.object == slot.object }
            }
            let shown = attached.reduce(0) { count, other in
                count + working.tasks[other]!.map.values.count { $0.object == slot.object && $0.page == slot.page }
            }
            return !isHeld && !isSaved && shown == 1
        }
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
            let old = committed.objects[slot.object].map { Array($0.bytes[part]) } ?? working.objects[slot.object]!.beneath?[slot.page] ?? [UInt8](repeating: 0, count: 4096)
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
