internal import AddressMap
internal import HostMemory
internal import PageStore
internal import VMTypes

/// What lies behind a task's map: mappings made, protected and taken away under the store's lock.
extension VMTask {
    /// Maps memory that is new to the store in `range`, and makes it durable with the next commit.
    func insert(
        fresh object: MappedObject, _ range: Range<UInt64>, offset: UInt64, _ current: Protection, _ maximum: Protection,
        _ inheritance: Inheritance, copied: Bool, _ memory: inout Store.Memory
    ) throws(VMError) {
        let entry = MapEntry(
            start: range.lowerBound, end: range.upperBound, backing: .object(object.id, offset: offset), current: current,
            maximum: maximum, inheritance: inheritance, copied: copied)
        try insert(entry, object, &memory)
        memory.adopt(object)
    }

    /// Maps an object's memory as `entry` says, and takes the entry into the map.
    func insert(_ entry: MapEntry, _ object: MappedObject, _ memory: inout Store.Memory) throws(VMError) {
        try show(entry, object)
        do throws(VMError) { try map.insert(entry) } catch {
            hide(entry.range, object)
            throw error
        }
        noteChange(entry.range)
        memory.mapped[object.id] = object
    }

    /// Shows an object's pages at an entry's addresses, under its protection.
    private func show(_ entry: MapEntry, _ object: MappedObject) throws(VMError) {
        guard case .shared = object.home else { return try apply(entry, object, isDefault: true) }
        try VMError.translating { () throws(StoreError) in
            try object.map(entry.range, offset: entry.backing.offset, entry.current)
        }
    }

    private func hide(_ range: Range<UInt64>, _ object: MappedObject) {
        if case .shared = object.home { try? object.unmap(range) } else { object.unmapAll() }
    }

    /// Puts the object's pages behind a placement, with what is changed in them and not yet committed.
    func back(_ placement: Placement, _ memory: inout Store.Memory) throws(VMError) {
        if memory.mapped[placement.object] != nil { return try show(placement, try memory.shareable(placement.object, store)) }
        let info = try VMError.translating { () throws(StoreError) in try store.pages.object(placement.object) }
        guard info?.residency == .exclusive else {
            let object = try memory.resident(placement.object, store)
            try show(placement, object)
            memory.mapped[object.id] = object
            return
        }
        let object = try exclusive(placement)
        guard case .exclusive(let mapping) = object.home else { return }
        let carried = memory.carried[placement.object]
        // Our own stores were declared by nobody: they are pending from the start.
        carried?.copy(to: mapping)
        object.pending = (carried?.runs ?? []).map { $0.intersection(mapping.pages) }.filter { !$0.isEmpty }
        do throws(VMError) {
            for entry in placement.entries { try apply(entry, object, isDefault: true) }
        } catch {
            object.unmapAll()
            throw error
        }
        carried?.drop(mapping.pages)
        if carried?.runs.isEmpty == true { memory.carried[placement.object] = nil }
        memory.mapped[placement.object] = object
    }

    private func show(_ placement: Placement, _ object: MappedObject) throws(VMError) {
        do throws(VMError) {
            for entry in placement.entries { try show(entry, object) }
        } catch {
            hide(placement.range, object)
            throw error
        }
    }

    /// The only mapping of an object of exclusive residency, as the last commit left it.
    private func exclusive(_ placement: Placement) throws(VMError) -> MappedObject {
        // A merge between making the view and mapping from it would leave what was mapped unpinned: then once more.
        while true {
            let (view, pager) = try VMError.translating { () throws(StoreError) in try store.pager(of: placement.object) }
            let object = try VMError.translating { () throws(StoreError) in
                let mapping = try ExclusiveMapping(
                    address: placement.range.lowerBound,
                    pages: PageRange(start: Int(placement.offset >> UInt64(Page.shift)), count: placement.range.count >> Page.shift),
                    provider: pager, writable: store.isWriter, tracking: store.tracking, demandFill: store.demandFill,
                    minimumRun: store.leastMappedRun, spill: store.isWriter ? store.spill : nil)
                return MappedObject(id: placement.object, home: .exclusive(mapping), pager: pager, size: view.size)
            }
            if view.isCurrent { return object }
            object.unmapAll()
        }
    }

    /// Enforces an entry's protection on its pages.
    func apply(_ entry: MapEntry, _ object: MappedObject, isDefault: Bool) throws(VMError) {
        if isDefault, entry.current == .default { return }
        switch object.home {
        case .shared:
            try VMError.translating { () throws(StoreError) in
                for mapping in object.mappings(in: entry.range) {
                    guard let pages = mapping.pages(in: entry.range) else { continue }
                    try mapping.protect(pages, entry.current)
                }
            }
        case .exclusive(let mapping):
            let first = mapping.pages.start + Int(entry.start - mapping.address) >> Page.shift
            let end = min(first + entry.range.count >> Page.shift, object.livePages.end)
            if !entry.current.contains(.read) { object.isRestricted = true }
            guard end > first else { return }
            try VMError.translating { () throws(StoreError) in
                try mapping.protect(PageRange(start: first, count: end - first), entry.current)
            }
        }
    }

    /// Unmaps a range; bytes that were changed and not committed are kept for the next commit, as far as anything can
    /// show them again.
    func remove(_ range: Range<UInt64>, _ memory: inout Store.Memory) throws(VMError) {
        let pieces = map.pieces(in: range)
        try shareCuts(range, &memory)
        var left: Set<ObjectID> = []
        do throws(VMError) {
            try VMError.translating { () throws(StoreError) in
                for piece in pieces {
                    guard let id = piece.backing.object, let object = memory.mapped[id] else { continue }
                    left.insert(id)
                    switch object.home {
                    case .shared: try object.unmap(piece.range)
                    case .exclusive: try memory.carry(object, store)
                    }
                }
            }
        } catch {
            for piece in pieces { showAgain(piece, memory) }
            throw error
        }
        for id in left {
            guard let object = memory.mapped[id] else { continue }
            if case .exclusive = object.home {
                object.unmapAll()
                memory.mapped[id] = nil
            }
        }
        if !map.remove(range).isEmpty { noteChange(range) }
        for id in left { try VMError.translating { () throws(StoreError) in try memory.release(id, store) } }
    }

    /// Shows what a failed unmapping has taken away of an entry, as far as the host lets us.
    func showAgain(_ piece: MapEntry, _ memory: Store.Memory) {
        guard let id = piece.backing.object, let object = memory.mapped[id], case .shared = object.home else { return }
        var next = piece.start
        var holes: [Range<UInt64>] = []
        for mapping in object.mappings(in: piece.range) {
            if mapping.range.lowerBound > next { holes.append(next..<mapping.range.lowerBound) }
            next = max(next, mapping.range.upperBound)
        }
        if next < piece.end { holes.append(next..<piece.end) }
        for hole in holes { if let lost = piece.clipped(to: hole) { try? show(lost, object) } }
        // A part that was about to go may have been protected.
        try? apply(piece, object, isDefault: false)
    }

    /// An exclusive mapping goes as a whole: one that is cut becomes shared memory.
    private func shareCuts(_ range: Range<UInt64>, _ memory: inout Store.Memory) throws(VMError) {
        for edge in [range.lowerBound, range.upperBound] {
            guard let entry = map.lookup(edge), let id = entry.backing.object, let object = memory.mapped[id],
                case .exclusive(let mapping) = object.home, mapping.address < edge
            else { continue }
            _ = try memory.shareable(id, store)
        }
    }

    // MARK: Back to the last commit

    /// Unmaps what the last commit did not have where it is now.
    func unmapChanged(_ memory: inout Store.Memory) throws(StoreError) {
        guard let range = changed else { return }
        let committed = committedMap.placements(in: range)
        for placement in map.placements(in: range) {
            guard let object = memory.mapped[placement.object] else { continue }
            switch object.home {
            case .exclusive:
                if committed.contains(where: { $0.isSamePlace(as: placement) }) { continue }
                object.unmapAll()
                memory.mapped[placement.object] = nil
            case .shared:
                for piece in map.pieces(in: placement.range.clamped(to: range), backedOtherwiseIn: committedMap) {
                    try object.unmap(piece.range)
                }
            }
        }
    }

    /// Makes the map what the last commit left, and what lies behind it too; `unmapChanged` went before.
    func revertMap(_ memory: inout Store.Memory) throws(StoreError) {
        guard let range = changed else { return }
        do throws(VMError) {
            for placement in committedMap.placements(in: range) {
                let isServed = memory.mapped[placement.object]?.managed != nil
                guard try isServed ? true : isLive(placement.object) else { continue }
                if memory.mapped[placement.object] != nil {
                    let object = try isShown(placement, memory) ? memory.mapped[placement.object]! : memory.shareable(placement.object, store)
                    if case .shared = object.home {
                        for piece in committedMap.pieces(in: placement.range.clamped(to: range), backedOtherwiseIn: map) {
                            // An abandoning that failed may have shown it already.
                            try VMError.translating { () throws(StoreError) in try object.unmap(piece.range) }
                            try show(piece, object)
                        }
                    }
                    for entry in placement.entries { try apply(entry, object, isDefault: false) }
                } else {
                    try back(placement, &memory)
                }
            }
        } catch {
            throw StoreError(
                error.code == .resourceShortage ? .full : .io, "a region could not be mapped again: \(error.message)",
                advice: "Abandon again, or reopen the store", path: store.path)
        }
        let before = map
        map = committedMap
        // What stayed mapped is still pinned; what was mapped again is not.
        if wasWired { map.takeWiring(of: before) }
        changed = nil
    }

    /// Whether a placement is what an exclusive mapping shows.
    private func isShown(_ placement: Placement, _ memory: Store.Memory) -> Bool {
        guard let object = memory.mapped[placement.object], case .exclusive(let mapping) = object.home else { return false }
        return mapping.range == placement.range && UInt64(mapping.pages.start) << UInt64(Page.shift) == placement.offset
    }

    private func isLive(_ id: ObjectID) throws(VMError) -> Bool {
        try VMError.translating({ () throws(StoreError) in try store.pages.object(id) })?.isLive == true
    }
}

extension AddressMap {
    /// The parts of `range`'s entries that show other bytes than `other` has at the same addresses.
    func pieces(in range: Range<UInt64>, backedOtherwiseIn other: AddressMap) -> [MapEntry] {
        var found: [MapEntry] = []
        for entry in pieces(in: range) {
            var next = entry.start
            for same in other.pieces(in: entry.range) where same.backing == entry.backing.advanced(by: same.start - entry.start) {
                if same.start > next, let piece = entry.clipped(to: next..<same.start) { found.append(piece) }
                next = same.end
            }
            if next < entry.end, let piece = entry.clipped(to: next..<entry.end) { found.append(piece) }
        }
        return found
    }
}
