internal import AddressMap
internal import HostMemory
internal import PageStore
internal import Synchronization
internal import VMTypes

/// What lies behind a task's map: mappings made, protected and taken away under the store's lock.
extension VMTask {
    /// A nameless object of zeros, made durable with the next commit, mapped in `range`.
    func insertFresh(
        _ range: Range<UInt64>, bytes: UInt64, _ current: Protection, _ maximum: Protection, _ inheritance: Inheritance,
        copied: Bool, _ memory: inout Store.Memory, fill: (MappedObject) throws(VMError) -> Void = { _ throws(VMError) in }
    ) throws(VMError) {
        guard store.isWriter else { throw VMError(.noAccess, "the store is open for reading") }
        let id = ObjectID(store.pages.newID())
        let pager = StorePager(view: nil, size: bytes, fileDescriptor: store.pages.pageFileDescriptor)
        let entry = MapEntry(
            start: range.lowerBound, end: range.upperBound, backing: .object(id, offset: 0), current: current,
            maximum: maximum, inheritance: inheritance, copied: copied)
        let object = try mapping(of: Placement(entry)!, pager, size: bytes)
        do throws(VMError) {
            try fill(object)
            try apply(entry, object)
            try map.insert(entry)
        } catch {
            object.mapping.unmap()
            throw error
        }
        noteChange(entry.range)
        memory.mapped[id] = object
        memory.operations.append(.createObject(id: id, name: "", size: bytes, residency: .exclusive))
    }

    /// Puts the object's pages behind a placement, with what is changed in them and not yet committed.
    func back(_ placement: Placement, _ memory: inout Store.Memory) throws(VMError) {
        let object = try current(placement)
        let carried = memory.carried[placement.object]
        // Our own stores were declared by nobody: they are pending from the start.
        carried?.copy(to: object.mapping)
        object.pending = (carried?.runs ?? []).map { $0.intersection(object.mapping.pages) }.filter { !$0.isEmpty }
        do throws(VMError) {
            for entry in placement.entries { try apply(entry, object) }
        } catch {
            object.mapping.unmap()
            throw error
        }
        carried?.drop(object.mapping.pages)
        if carried?.runs.isEmpty == true { memory.carried[placement.object] = nil }
        memory.mapped[placement.object] = object
    }

    /// A mapping of the object's last commit.
    private func current(_ placement: Placement) throws(VMError) -> MappedObject {
        // A merge between making the view and mapping from it would leave what was mapped unpinned: then once more.
        while true {
            let (view, pager) = try VMError.translating { () throws(StoreError) in
                let begun = seconds()
                let view = try store.pages.head(of: placement.object)
                store.openingParts.withLock { $0[.pageTables, default: 0] += seconds() - begun }
                if store.checksOnMap { try store.checkAll(view) }
                return (view, StorePager(view: view, size: view.size, fileDescriptor: view.fileDescriptor))
            }
            let object = try mapping(of: placement, pager, size: view.size)
            if view.isCurrent { return object }
            object.mapping.unmap()
        }
    }

    private func mapping(of placement: Placement, _ pager: StorePager, size: UInt64) throws(VMError) -> MappedObject {
        try VMError.translating { () throws(StoreError) in
            let mapping = try ExclusiveMapping(
                address: placement.range.lowerBound,
                pages: PageRange(start: Int(placement.offset) >> Page.shift, count: placement.range.count >> Page.shift),
                provider: pager, writable: store.isWriter, tracking: store.tracking, demandFill: store.demandFill)
            return MappedObject(id: placement.object, mapping: mapping, pager: pager, size: size)
        }
    }

    /// Enforces an entry's protection on its pages that lie within the object.
    func apply(_ entry: MapEntry, _ object: MappedObject, isDefault: Bool = true) throws(VMError) {
        if isDefault, entry.current == .default { return }
        let first = object.mapping.pages.start + Int(entry.start - object.mapping.address) >> Page.shift
        let end = min(first + entry.range.count >> Page.shift, Page.count(forBytes: Int(object.size)))
        if !entry.current.contains(.read) { object.isRestricted = true }
        guard end > first else { return }
        try VMError.translating { () throws(StoreError) in
            try object.mapping.protect(PageRange(start: first, count: end - first), entry.current)
        }
    }

    /// Fills a fresh mapping with what the object holds now: its memory where it is mapped, else what was changed and is
    /// not committed, else the last commit.
    func copyIn(_ source: ObjectID, _ view: ObjectView, _ offset: UInt64, to target: MappedObject, _ memory: Store.Memory)
        throws(VMError)
    {
        let range = PageRange(start: Int(offset) >> Page.shift, count: Page.count(forBytes: Int(target.size)))
        let base = pointer(target.mapping.address)
        var copied: [PageRange] = []
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 256 * Page.size, alignment: Page.size)
        defer { buffer.deallocate() }
        func place(_ page: Int) -> UnsafeMutableRawPointer { base + (page - range.start) * Page.size }
        try VMError.translating { () throws(StoreError) in
            var shown = PageRange(start: range.end, count: 0)
            if let mapped = memory.mapped[source], !range.intersection(mapped.mapping.pages).isEmpty {
                shown = range.intersection(mapped.mapping.pages)
            }
            for part in [
                PageRange(start: range.start, count: shown.start - range.start),
                PageRange(start: shown.end, count: range.end - shown.end),
            ] where part.count > 0 {
                for run in view.extents(in: part) where run.extent != .zeros && run.extent != .beyondEnd {
                    var page = run.pages.start
                    while page < run.pages.end {
                        let piece = PageRange(start: page, count: min(256, run.pages.end - page))
                        // A system call can't store to memory whose first stores are caught by signal.
                        try view.read(piece, into: buffer)
                        place(page).copyMemory(from: buffer, byteCount: piece.count * Page.size)
                        page = piece.end
                    }
                    copied.append(run.pages)
                }
            }
            memory.carried[source]?.copy(range, to: base)
            copied += memory.carried[source]?.runs.map { $0.intersection(range) } ?? []
            copied.append(shown)
            if let mapped = memory.mapped[source], !shown.isEmpty {
                try mapped.mapping.copyOut(shown, into: place(shown.start))
            }
        }
        // Nobody declares these stores: they are pending from the start.
        target.pending = joined(
            copied.filter { !$0.isEmpty }.map { PageRange(start: $0.start - range.start, count: $0.count) })
        // What was stored past the end in the source's last page is no part of it.
        let tail = Int(target.size) & (Page.size - 1)
        if tail != 0, copied.contains(where: { $0.contains(range.end - 1) }) {
            (base + Int(target.size)).initializeMemory(as: UInt8.self, repeating: 0, count: Page.size - tail)
        }
    }

    /// Unmaps whole placements; bytes that were changed and not committed are kept for the next commit. Memory without a
    /// name ends with its mapping: nothing could ever show it again.
    func remove(_ range: Range<UInt64>, _ memory: inout Store.Memory) throws(VMError) {
        let placements = map.placements(in: range).filter { memory.mapped[$0.object] != nil }
        var nameless: [ObjectID: Bool] = [:]
        var kept: [CarriedPages] = []
        try VMError.translating { () throws(StoreError) in
            for placement in placements {
                guard let object = memory.mapped[placement.object] else { continue }
                if memory.operations.contains(where: { $0.makes(placement.object) }) {
                    nameless[placement.object] = false
                } else if try store.pages.object(placement.object)?.name.isEmpty == true {
                    nameless[placement.object] = true
                } else {
                    try object.gather()
                    guard !object.pending.isEmpty else { continue }
                    let carried = if let known = memory.carried[object.id] { known } else { try CarriedPages(object) }
                    try carried.add(object.pending, from: object.mapping)
                    kept.append(carried)
                }
            }
        }
        for carried in kept { memory.carried[carried.object] = carried }
        for placement in placements { memory.mapped.removeValue(forKey: placement.object)?.mapping.unmap() }
        for (id, isCommitted) in nameless {
            memory.carried[id] = nil
            memory.operations.removeAll { $0.makes(id) }
            if isCommitted { memory.operations.append(.deleteObject(id: id)) }
        }
        if !map.remove(range).isEmpty { noteChange(range) }
    }

    /// Unmaps what the last commit did not have where it is now.
    ///
    /// - Returns: Placements of the last commit whose object or entries are to be put back.
    func unmapChanged(_ memory: inout Store.Memory) -> [Placement] {
        guard let range = changed else { return [] }
        let committed = committedMap.placements(in: range)
        for placement in map.placements(in: range)
        where !committed.contains(where: { $0.isSamePlace(as: placement) }) {
            memory.mapped.removeValue(forKey: placement.object)?.mapping.unmap()
        }
        return committed
    }

    /// Makes the map what the last commit left, behind `placements` too.
    func revertMap(_ placements: [Placement], _ memory: inout Store.Memory) throws(StoreError) {
        do throws(VMError) {
            for placement in placements {
                if let object = memory.mapped[placement.object] {
                    for entry in placement.entries { try apply(entry, object, isDefault: false) }
                } else if try VMError.translating({ () throws(StoreError) in try store.pages.object(placement.object) })?.isLive == true {
                    try back(placement, &memory)
                }
            }
        } catch {
            throw StoreError(
                error.code == .resourceShortage ? .full : .io, "a region could not be mapped again: \(error.message)",
                advice: "Abandon again, or reopen the store", path: store.path)
        }
        map = committedMap
        changed = nil
    }
}

extension StoreOperation {
    /// Whether the operation makes that object.
    fileprivate func makes(_ id: ObjectID) -> Bool {
        if case .createObject(id, _, _, _) = self { true } else { false }
    }
}
