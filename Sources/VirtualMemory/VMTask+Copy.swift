internal import AddressMap
internal import Glibc
internal import HostMemory
internal import PageStore
public import VMTypes

extension VMTask {
    /// Copies bytes from one range of the task to another, as if all were read first (vm_copy).
    ///
    /// Whole pages, 1 MiB of them and more, are copied as `map` copies, when they are touched, where the destination's
    /// memory has no name and nothing else shows it; its regions keep their attributes, and show another object. Between
    /// other ranges the bytes move at once. A system call of another thread that is given an address of the destination
    /// meanwhile may answer EFAULT.
    ///
    /// - Throws: As `read` for the source and, after that, as `write` for the destination.
    public func copy(source: UInt64, size: UInt64, destination: UInt64) throws(VMError) {
        if (source | size | destination) % UInt64(Page.size) == 0, try exchange(source, size, destination) { return }
        try load(source, size, .read)
        try load(destination, size, .write)
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            guard try checked(source, size, .read, &memory), try checked(destination, size, .write, &memory) else { return }
            let overlaps = source < destination + size && destination < source + size
            if showsTwice(source, destination, size) || overlaps && showsTwice(destination, destination, size) {
                // The same memory at other addresses: a move does not see what overlaps.
                let bytes = UnsafeMutableRawPointer.allocate(byteCount: Int(size), alignment: Page.size)
                defer { bytes.deallocate() }
                memcpy(bytes, pointer(source), Int(size))
                store(bytes, at: destination, size)
            } else if overlaps {
                memmove(pointer(destination), pointer(source), Int(size))
            } else {
                store(pointer(source), at: destination, size)
            }
        }
        touch(address: destination, size: size)
    }

    /// Whether two ranges that are mapped show an object's memory that both have, at other addresses.
    private func showsTwice(_ source: UInt64, _ destination: UInt64, _ size: UInt64) -> Bool {
        func shown(_ address: UInt64) -> [MapEntry] {
            map.pieces(in: Page.trunc(address)..<(Page.round(address + size) ?? map.bounds.upperBound))
        }
        let to = shown(destination)
        return shown(source).contains { piece in
            to.contains { other in
                piece.backing.object == other.backing.object && piece.start &- piece.backing.offset != other.start &- other.backing.offset
                    && piece.backing.offset < other.backing.offset + other.length && other.backing.offset < piece.backing.offset + piece.length
            }
        }
    }

    // MARK: Whole pages

    /// Shows copies of the source in place of what the destination shows; false where that can't be done, or is refused.
    private func exchange(_ source: UInt64, _ size: UInt64, _ destination: UInt64) throws(VMError) -> Bool {
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            guard size >> UInt64(Page.shift) >= memory.leastLazyCopy, source != destination,
                let from = try? AddressMap.outward(address: source, size: size),
                let to = try? AddressMap.outward(address: destination, size: size),
                let entries = try? lazySources(in: from, memory), let targets = try lazyTargets(in: to, &memory)
            else { return false }
            let sources = entries.map {
                MapSource(object: .known($0.backing.object!), offset: $0.backing.offset, length: $0.length)
            }
            let copies: [MapSource]
            do throws(VMError) { copies = try self.copies(of: sources, &memory) } catch {
                // No room for another object: bytes move into the memory that is there.
                guard error.code == .resourceShortage else { throw error }
                return false
            }
            try exchange(targets, with: shares(of: targets, in: copies, memory), over: to, &memory)
            return true
        }
    }

    /// A copy has its source's page numbers, and takes up addresses from its first page on: so many for each that is copied.
    private static let mostPagesForOne = 8

    /// The source's entries, if their pages may be shown elsewhere: readable, whole, within their objects.
    private func lazySources(in range: Range<UInt64>, _ memory: Store.Memory) throws(VMError) -> [MapEntry]? {
        let entries = try checkedPieces(in: range) { $0.current.contains(.read) ? nil : VMError(.protectionFailure, "") }
        let areWhole = entries.allSatisfy { entry in
            guard let id = entry.backing.object, let object = memory.mapped[id], object.managed == nil else { return false }
            // What lies past the end in an object's last page would be no part of a copy.
            return entry.pages.end <= Int(object.size >> UInt64(Page.shift))
                && entry.pages.end / Self.mostPagesForOne <= entry.pages.count
        }
        return areWhole ? entries : nil
    }

    /// The destination's entries, if all they show is memory without a name that nobody else sees.
    private func lazyTargets(in range: Range<UInt64>, _ memory: inout Store.Memory) throws(VMError) -> [MapEntry]? {
        let refused = VMError(.protectionFailure, "")
        guard let entries = try? checkedPieces(in: range, { $0.current.contains(.write) ? nil : refused }) else { return nil }
        for entry in entries {
            guard entry.wiredCount == 0, let id = entry.backing.object, let object = memory.mapped[id],
                entry.pages.end <= object.livePages.end, !object.shows(entry.pages, outside: entry.range),
                try VMError.translating({ () throws(StoreError) in try memory.isPrivate(object, store) })
            else { return nil }
        }
        return entries
    }

    /// What each target entry is to show, in order.
    private func shares(of targets: [MapEntry], in copies: [MapSource], _ memory: Store.Memory) -> [(entry: MapEntry, object: MappedObject)] {
        var shares: [(entry: MapEntry, object: MappedObject)] = []
        guard var next = targets.first?.start else { return [] }
        var index = 0
        for copy in copies {
            guard case .fresh(let object) = copy.object else { continue }
            let start = next, end = next + copy.length
            while index < targets.count, targets[index].start < end {
                let old = targets[index].backing.object.flatMap { memory.mapped[$0] }
                if var entry = targets[index].clipped(to: start..<end) {
                    let replaced = entry.pages
                    entry.backing = .object(object.id, offset: copy.offset + (entry.start - start))
                    shares.append((entry, object))
                    if let old { object.noteReplaced(entry.pages, old, replaced) }
                }
                if targets[index].end > end { break }
                index += 1
            }
            next = end
        }
        return shares
    }

    /// Puts the shares in the targets' place, all or nothing.
    private func exchange(
        _ targets: [MapEntry], with shares: [(entry: MapEntry, object: MappedObject)], over range: Range<UInt64>,
        _ memory: inout Store.Memory
    ) throws(VMError) {
        try VMError.translating { () throws(StoreError) in
            // Committed bytes are what an invalidation shows.
            for target in targets {
                guard let object = memory.object(of: target) else { continue }
                try object.unpack()
                try store.attachView(object)
            }
            try HeldAccesses.hold(range) { () throws(StoreError) in
                do throws(StoreError) {
                    for target in targets { try memory.object(of: target)?.unmap(target.range) }
                    for (entry, object) in shares { try object.map(entry.range, offset: entry.backing.offset, entry.current) }
                } catch {
                    for (_, object) in shares { object.unmapAll() }
                    for target in targets { showAgain(target, memory) }
                    throw error
                }
            }
        }
        map.remove(range)
        for (entry, object) in shares {
            try map.insert(entry)
            memory.adopt(object)
        }
        noteChange(range)
        for id in Set(targets.compactMap(\.backing.object)) {
            try VMError.translating { () throws(StoreError) in try memory.release(id, store) }
        }
    }
}

extension Store {
    /// Sets the fewest pages that vm_copy copies when they are touched.
    package func setLeastLazyCopy(pages: Int) { withMemory { $0.leastLazyCopy = pages } }
}

extension Store.Memory {
    fileprivate func object(of entry: MapEntry) -> MappedObject? { entry.backing.object.flatMap { mapped[$0] } }

    /// Whether an object is memory without a name that no entry, port, child or unattached task needs.
    fileprivate mutating func isPrivate(_ object: MappedObject, _ store: Store) throws(StoreError) -> Bool {
        guard case .shared = object.home, object.managed == nil, object.handles == 0, !object.hasForeignWriters else { return false }
        if created.contains(object.id) { return true }
        guard try store.pages.object(object.id)?.name.isEmpty == true else { return false }
        return try !isShownBySavedTask(object.id, store)
    }
}

extension MappedObject {
    /// Memory that a copy stands in the place of: what an invalidation shows, as long as no commit has made the copy.
    struct Replaced {
        /// Of the copy.
        var pages: PageRange
        /// Answers for the first of them as its page `first`.
        var pager: any PageProvider
        var first: Int
    }

    fileprivate func noteReplaced(_ pages: PageRange, _ old: MappedObject, _ oldPages: PageRange) {
        let shift = pages.start - oldPages.start
        let known = old.replaced.compactMap { part -> Replaced? in
            let common = part.pages.intersection(oldPages)
            guard !common.isEmpty else { return nil }
            return Replaced(
                pages: PageRange(start: common.start + shift, count: common.count), pager: part.pager,
                first: part.first + common.start - part.pages.start)
        }
        replaced += known.isEmpty ? [Replaced(pages: pages, pager: old.pager, first: oldPages.start)] : known
    }

    /// Puts the last committed bytes of what the object replaced into pages of it.
    func restoreReplaced(_ pages: PageRange) throws(StoreError) {
        guard case .shared(let shared) = home else { return }
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 64 * Page.size, alignment: Page.size)
        defer { buffer.deallocate() }
        for part in replaced {
            var rest = part.pages.intersection(pages)
            while !rest.isEmpty {
                let piece = PageRange(start: rest.start, count: min(64, rest.count))
                try part.pager.fill(PageRange(start: part.first + piece.start - part.pages.start, count: piece.count), into: buffer)
                try shared.store(piece, from: buffer)
                pending = joined(pending + [piece])
                rest = PageRange(start: piece.end, count: rest.end - piece.end)
            }
        }
    }
}
