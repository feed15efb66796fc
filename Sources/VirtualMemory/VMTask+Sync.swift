internal import AddressMap
internal import Glibc
internal import HostMemory
internal import PageStore
public import VMTypes

extension VMTask {
    /// Makes a range durable, or drops what it has uncommitted (vm_msync).
    ///
    /// `synchronous` commits all that is uncommitted, never half of it, so that the range is durable at return;
    /// `asynchronous` commits without waiting for the disk. `invalidate` and `killPages` put the last committed bytes back:
    /// kill-pages before such a commit, which does not hold what is dropped, invalidate after it. Each waits for other threads'
    /// transactions in heaps, as a commit does. Of memory managers, those of the range's objects are waited for.
    ///
    /// - Throws: INVALID_ARGUMENT for both at once, an unknown flag or a range that wraps; INVALID_ADDRESS for `contiguous`
    ///   with a hole; FAILURE within a transaction or a change of a heap, for what commits and for what drops: nothing has
    ///   happened then; RESOURCE_SHORTAGE on a full disk; MEMORY_ERROR where a disk failed, or committed bytes can't be read;
    ///   TERMINATED. Nothing was dropped then, and where the commit failed, nothing committed. MEMORY_ERROR also where the manager
    ///   of an object of the range did not take its pages: the commit stands.
    public func sync(address: UInt64, size: UInt64, _ flags: SyncFlags) throws(VMError) {
        let range: Range<UInt64>? = try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            guard flags.isWellFormed else {
                throw VMError(.invalidArgument, "sync flags \(flags) exclude each other or are unknown")
            }
            guard let range = try AddressMap.outward(address: address, size: size) else { return nil }
            if flags.contains(.contiguous) { _ = try checkedPieces(in: range) { _ in nil } }
            return range
        }
        guard let range else { return }
        let durability: Durability? = flags.contains(.synchronous) ? .synced : flags.contains(.asynchronous) ? .deferred : nil
        if flags.contains(.killPages) {
            try drop(range, committingTheRest: durability)
        } else if let durability {
            try commit(for: range, durability)
        }
        if flags.contains(.invalidate) { try drop(range, committingTheRest: nil) }
        if flags.contains(.deactivate) {
            try store.withMemory { (memory) throws(VMError) in
                try checkAttached(memory)
                try advise(map.pieces(in: range), .dontNeed, memory)
            }
        }
    }

    /// Tells how a range is going to be used (vm_behavior_set).
    ///
    /// `default`, `random`, `sequential`, `reverseSequential` and `willNeed` are advice to the host; `dontNeed` makes pages
    /// the first to go when memory is short; `pageOut` asks the host to take pages out of memory now: none of these changes a
    /// byte. `free` and `zero` fill the range with zeros.
    ///
    /// - Throws: INVALID_ADDRESS at a hole; PROTECTION_FAILURE for a filling where a region may not be written;
    ///   MEMORY_ERROR for one beyond an object's end; INVALID_ARGUMENT where the range wraps; TERMINATED. Nothing has changed
    ///   then.
    public func setBehavior(address: UInt64, size: UInt64, _ behavior: MemoryBehavior) throws(VMError) {
        let range: Range<UInt64>? = try store.withMemory { (memory) throws(VMError) in
            try checkAttached(memory)
            return try AddressMap.outward(address: address, size: size)
        }
        guard let range else { return }
        switch behavior {
        case .free, .zero:
            try store.withMemory { (memory) throws(VMError) in
                try checkAttached(memory)
                let entries = try checkedPieces(in: range) { entry in
                    entry.current.contains(.write)
                        ? nil : VMError(.protectionFailure, "\(hexadecimal(entry.range)) is \(entry.current): it can't be filled")
                }
                for entry in entries {
                    guard let id = entry.backing.object, let object = memory.mapped[id] else { continue }
                    guard entry.pages.end <= object.livePages.end else {
                        throw VMError(.memoryError, "\(hexadecimal(entry.range)) reaches beyond the end of object \(id)")
                    }
                }
            }
            // Whole pages: the range was rounded outward as for every behaviour. All of them are there before one is filled.
            let size = range.upperBound - range.lowerBound
            try load(range.lowerBound, size, .write)
            try store.withManagers { (memory) throws(VMError) in
                try checkAttached(memory)
                guard try checked(range.lowerBound, size, .write, &memory) else { return }
                memset(pointer(range.lowerBound), 0, Int(size))
            }
            touch(address: range.lowerBound, size: size)
        default:
            try store.withMemory { (memory) throws(VMError) in
                try checkAttached(memory)
                try advise(try checkedPieces(in: range) { _ in nil }, behavior, memory)
            }
        }
    }

    private func advise(_ entries: [MapEntry], _ behavior: MemoryBehavior, _ memory: Store.Memory) throws(VMError) {
        try VMError.translating { () throws(StoreError) in
            for entry in entries {
                guard let id = entry.backing.object, let object = memory.mapped[id] else { continue }
                // Shared pages leave their page tables, also where there is no swap space: a table that is not armed would forget
                // that they were stored to.
                if behavior == .pageOut, object.isWritable, case .shared = object.home { try object.gather() }
                try Population.advise(address: entry.start, byteCount: entry.range.count, behavior)
            }
        }
    }

    /// Pins a range in memory once more, or, where `access` is none, once less (vm_wire).
    ///
    /// - Throws: INVALID_ADDRESS at a hole; PROTECTION_FAILURE where a region forbids the access; INVALID_ARGUMENT for
    ///   unwiring what is not wired; RESOURCE_SHORTAGE beyond what the host lets a process lock; MEMORY_ERROR where a page
    ///   can't be had; TERMINATED. Nothing has changed then.
    public func wire(address: UInt64, size: UInt64, access: Protection) throws(VMError) {
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            guard access.isWellFormed else {
                throw VMError(.invalidArgument, "access \(access.rawValue) has bits outside read, write and execute")
            }
            guard let range = try AddressMap.outward(address: address, size: size) else { return }
            var after = map
            let changes = try after.wire(range, access: access)
            if access != .none { try requirePages(in: range, &memory) }
            var done: [EntryChange] = []
            do throws(VMError) {
                for change in changes where (change.before.wiredCount == 0) != (change.after.wiredCount == 0) {
                    try pin(change.after, change.after.wiredCount > 0, memory)
                    done.append(change)
                }
            } catch {
                for change in done { try? pin(change.before, change.before.wiredCount > 0, memory) }
                throw error
            }
            map = after
            wasWired = true
        }
    }

    func pin(_ entry: MapEntry, _ isPinned: Bool, _ memory: Store.Memory) throws(VMError) {
        guard let id = entry.backing.object, let object = memory.mapped[id] else { return }
        let pages = entry.pages.intersection(object.livePages)
        guard !pages.isEmpty else { return }
        try VMError.translating { () throws(StoreError) in
            switch object.home {
            case .exclusive(let mapping):
                try Population.wire(address: entry.start, byteCount: pages.count << Page.shift, isPinned)
                mapping.keep(pages, isPinned)
            case .shared:
                for mapping in object.mappings(in: entry.range) {
                    guard let part = mapping.pages(in: entry.range) else { continue }
                    try mapping.wire(part, isPinned)
                }
            }
        }
    }
}

extension PageRange {
    /// The parts outside `other`.
    func subtracting(_ other: PageRange) -> [PageRange] {
        [
            PageRange(start: start, count: max(0, min(end, other.start) - start)),
            PageRange(start: max(start, other.end), count: max(0, end - max(start, other.end))),
        ].filter { !$0.isEmpty }
    }
}
