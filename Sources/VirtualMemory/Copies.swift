internal import HostMemory
internal import PageStore
internal import Synchronization
internal import VMTypes

extension Store.Memory {
    /// A private copy of an object as it is now, uncommitted bytes included, for mapping `pages` of it.
    ///
    /// What is committed is shared with the source, by lineage, and read when it is touched; what is not is copied now.
    /// The copy has the source's pages at the same places, up to the end of `pages` or of the source. Bytes that other
    /// threads store meanwhile are in it or not. Nothing shows the copy yet; whoever maps it adopts it.
    mutating func copy(of id: ObjectID, _ pages: PageRange, _ store: Store) throws(VMError) -> MappedObject {
        let source = mapped[id]
        if let source, source.managed != nil { return try ingest(source, pages, store) }
        let carried = carried[id]
        try VMError.translating { () throws(StoreError) in try source?.gather() }
        let (view, base, differing) = try VMError.translating { () throws(StoreError) in try committedState(of: id, store) }
        guard let whole = source?.size ?? view?.size else {
            throw VMError(.invalidObject, "object \(id) is dead")
        }
        let size = pages.end < Page.count(forBytes: Int(whole)) ? UInt64(pages.end) << UInt64(Page.shift) : whole
        let pager = StorePager(view: view, size: size, fileDescriptor: store.pages.pageFileDescriptor)
        let copy = try fresh(size: size, pager: pager, base: base, store)
        let range = pages.intersection(copy.livePages)
        guard !range.isEmpty, case .shared(let target) = copy.home else { return copy }
        try VMError.translating { () throws(StoreError) in
            let buffer = UnsafeMutableRawPointer.allocate(byteCount: 64 * Page.size, alignment: Page.size)
            defer { buffer.deallocate() }
            var copied: [PageRange] = []
            func store(
                _ runs: [PageRange], within range: PageRange, _ bytes: (PageRange) throws(StoreError) -> UnsafeRawPointer
            ) throws(StoreError) {
                for run in runs {
                    var part = run.intersection(range)
                    while !part.isEmpty {
                        let piece = PageRange(start: part.start, count: min(64, part.count))
                        try target.store(piece, from: try bytes(piece))
                        part = PageRange(start: piece.end, count: part.end - piece.end)
                    }
                    copied.append(run.intersection(range))
                }
            }
            if let view {
                try store(differing, within: copy.livePages) { (piece) throws(StoreError) in
                    try view.read(piece, into: buffer)
                    return UnsafeRawPointer(buffer)
                }
            }
            if let carried { try store(carried.runs, within: range) { carried.origin + $0.start * Page.size } }
            if let source {
                try store(source.pending, within: range) { (piece) throws(StoreError) in
                    if case .shared(let shared) = source.home { return UnsafeRawPointer(shared.pointer(toPage: piece.start)) }
                    try source.copyOut(piece, into: buffer)
                    return UnsafeRawPointer(buffer)
                }
            }
            copy.pending = joined(copied.filter { !$0.isEmpty })
            copy.zeroTail(target)
        }
        return copy
    }

    /// A copy of pages of a managed object, taken now: what its manager answers later may be anything.
    private mutating func ingest(_ source: MappedObject, _ pages: PageRange, _ store: Store) throws(VMError) -> MappedObject {
        try require(pages, of: source)
        let copy = try fresh(size: min(source.size, UInt64(pages.end) << UInt64(Page.shift)), store)
        let range = pages.intersection(copy.livePages)
        guard !range.isEmpty, case .shared(let target) = copy.home, case .shared(let memory) = source.home else { return copy }
        try VMError.translating { () throws(StoreError) in
            try target.store(range, from: memory.pointer(toPage: range.start))
            copy.pending = [range]
            copy.zeroTail(target)
        }
        return copy
    }

    /// What a copy of an object begins with: a committed state of it, or of what it is itself an uncommitted copy of;
    /// nothing where it is new memory. Also the pages in which the state differs from the base.
    private func committedState(of id: ObjectID, _ store: Store) throws(StoreError)
        -> (view: ObjectView?, base: MappedObject.CopyBase?, differing: [PageRange])
    {
        if created.contains(id), let object = mapped[id] { return (object.storePager?.view, object.base, []) }
        let version = store.pages.lastVersion
        let view = try store.pages.view(of: id, at: version)
        let chain = try store.pages.lineage(of: id, at: version)
        guard chain.count > Self.longestChain, let first = chain.last else {
            return (view, MappedObject.CopyBase(source: id, version: version), [])
        }
        let origin = try store.pages.view(of: first.object, at: first.version)
        return (view, MappedObject.CopyBase(source: first.object, version: first.version), view.differences(from: origin))
    }

    /// Copies of copies, each committed, before one is made of the first of them again.
    private static let longestChain = 8
}

extension MappedObject {
    /// What was stored past the end in a source's last page is no part of a copy.
    fileprivate func zeroTail(_ memory: SharedMemory) {
        let tail = Int(size) & (Page.size - 1), last = livePages.end - 1
        guard tail != 0, pending.contains(where: { $0.contains(last) }) else { return }
        (memory.pointer(toPage: last) + tail).initializeMemory(as: UInt8.self, repeating: 0, count: Page.size - tail)
    }
}

extension Store {
    /// An object's last commit, and what answers for its pages.
    func pager(of id: ObjectID) throws(StoreError) -> (view: ObjectView, pager: StorePager) {
        let begun = seconds()
        let view = try pages.head(of: id)
        openingParts.withLock { $0.pageTables += seconds() - begun }
        if checksOnMap { try checkAll(view) }
        return (view, StorePager(view: view, size: view.size, fileDescriptor: view.fileDescriptor))
    }
}
