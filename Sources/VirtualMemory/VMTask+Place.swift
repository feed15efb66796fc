internal import AddressMap
internal import PageStore
internal import VMTypes

/// Memory that a mapping call is about to show: a stretch of one object.
struct MapSource {
    enum Object {
        /// One of the store's.
        case known(ObjectID)
        /// One that is new to the store, and adopted when it is mapped.
        case fresh(MappedObject)
    }

    var object: Object
    /// Bytes into the object.
    var offset: UInt64
    /// Bytes; whole pages.
    var length: UInt64
    /// What the stretch has where that differs from what the call gives.
    var attributes: VMTask.Attributes?
}

extension VMTask {
    /// Where a caller wants memory.
    struct Spot {
        var address: UInt64
        /// Bytes, not rounded.
        var size: UInt64
        var mask: UInt64
        var anywhere: Bool
    }

    /// What an entry has beside its place and its backing.
    struct Attributes {
        var current: Protection
        var maximum: Protection
        var inheritance: Inheritance
        var copied: Bool

        /// The same for memory that is no copy of anything.
        var asFresh: Attributes {
            var attributes = self
            attributes.copied = false
            return attributes
        }
    }

    /// Maps stretches one after the other where the caller wants them: all or none.
    func place(_ sources: [MapSource], at spot: Spot, _ attributes: Attributes, _ memory: inout Store.Memory)
        throws(VMError) -> UInt64
    {
        let range = try map.place(address: spot.address, size: spot.size, mask: spot.mask, anywhere: spot.anywhere)
        var address = range.lowerBound
        do throws(VMError) {
            for source in sources {
                try map(source, at: address, source.attributes ?? attributes, &memory)
                address += source.length
            }
        } catch {
            if address > range.lowerBound { try? remove(range.lowerBound..<address, &memory) }
            throw error
        }
        return range.lowerBound
    }

    private func map(_ source: MapSource, at address: UInt64, _ attributes: Attributes, _ memory: inout Store.Memory)
        throws(VMError)
    {
        let range = address..<address + source.length
        switch source.object {
        case .fresh(let object):
            try insert(
                fresh: object, range, offset: source.offset, attributes.current, attributes.maximum, attributes.inheritance,
                copied: attributes.copied, &memory)
        case .known(let id):
            let entry = MapEntry(
                start: range.lowerBound, end: range.upperBound, backing: .object(id, offset: source.offset),
                current: attributes.current, maximum: attributes.maximum, inheritance: attributes.inheritance)
            if memory.mapped[id] == nil, try isExclusive(id) {
                try back(Placement(entry)!, &memory)
                try map.insert(entry)
                noteChange(entry.range)
            } else {
                let object = try memory.shareable(id, store)
                // Where nothing fills on demand, mapping fills.
                if !store.demandFill { try memory.require(entry.pages, of: object) }
                try insert(entry, object, &memory)
            }
        }
    }

    private func isExclusive(_ id: ObjectID) throws(VMError) -> Bool {
        try VMError.translating { () throws(StoreError) in try store.pages.object(id)?.residency == .exclusive }
    }

    /// Private copies of stretches, as they are now.
    func copies(of sources: [MapSource], _ memory: inout Store.Memory) throws(VMError) -> [MapSource] {
        var copies: [MapSource] = []
        for source in sources {
            guard case .known(let id) = source.object else {
                copies.append(source)
                continue
            }
            let pages = PageRange(
                start: Int(source.offset >> UInt64(Page.shift)), count: Int(source.length >> UInt64(Page.shift)))
            let copy = try memory.copy(of: id, pages, store)
            copies.append(
                MapSource(object: .fresh(copy), offset: source.offset, length: source.length, attributes: source.attributes))
        }
        return copies
    }

    /// Refuses an object that is no more.
    func checkLive(_ right: MemoryRight, _ memory: inout Store.Memory) throws(VMError) {
        switch right.kind {
        case .object(let id, let name): try checkLive(id, name, &memory)
        case .managed(let id, let owner):
            guard owner === store else { throw VMError(.invalidObject, "object \(id) belongs to another store") }
            try checkLive(id, "", &memory)
        case .entry(let entry):
            guard entry.store === store else {
                throw VMError(.invalidObject, "the memory entry belongs to another store")
            }
            for piece in entry.pieces { try checkLive(piece.object, "", &memory) }
        }
    }

    private func checkLive(_ id: ObjectID, _ name: String, _ memory: inout Store.Memory) throws(VMError) {
        if let managed = memory.mapped[id]?.managed { return try memory.requireService(managed) }
        if memory.created.contains(id) { return }
        let info = try VMError.translating { () throws(StoreError) in try store.pages.object(id) }
        guard info?.isLive == true, !memory.deleted.contains(id) else {
            throw VMError(.invalidObject, "object \(id)\(name.isEmpty ? "" : " '\(name)'") is dead")
        }
    }
}

extension MemoryRight {
    /// The stretches that lie from `offset` on.
    func sources(offset: UInt64, size: UInt64, length: UInt64) throws(VMError) -> [MapSource] {
        switch kind {
        case .object(let id, _), .managed(let id, _): return [MapSource(object: .known(id), offset: offset, length: length)]
        case .entry(let entry):
            guard offset <= entry.size, length <= entry.size - offset else {
                throw VMError(
                    .invalidArgument, "offset \(offset) + size \(size) pass the \(entry.size) bytes of the memory entry")
            }
            return entry.pieces(offset: offset, length: length).map {
                MapSource(object: .known($0.object), offset: $0.offset, length: $0.length)
            }
        }
    }
}
