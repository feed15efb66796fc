internal import Glibc
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
        try VMError.translating { () throws(StoreError) in
            try source?.gather()
            try source?.unpack()
        }
        let (view, base, differing) = try VMError.translating { () throws(StoreError) in try committedState(of: id, store) }
        guard let whole = source?.size ?? view?.size else {
            throw VMError(.invalidObject, "object \(id) is dead")
        }
        let size = pages.end < Page.count(forBytes: Int(whole)) ? UInt64(pages.end) << UInt64(Page.shift) : whole
        let live = PageRange(start: 0, count: Page.count(forBytes: Int(size))), range = pages.intersection(live)
        let layers = range.isEmpty ? [] : changes(id, source, view, differing, within: live, range)
        let copied = joined(layers.flatMap(\.runs))
        let packed = try VMError.translating { () throws(StoreError) in
            store.demandFill && copied.count <= (view == nil ? PackedPages.mostRunsAlone : PackedPages.mostRuns)
                ? try pack(layers, copied, size) : nil
        }
        let pager = StorePager(view: view, size: size, packed: packed, fileDescriptor: store.pages.pageFileDescriptor)
        let copy = try fresh(size: size, pager: pager, base: base, store)
        if packed == nil { try VMError.translating { () throws(StoreError) in try put(layers, into: copy) } }
        copy.pending = copied
        return copy
    }

    /// Pages that a copy of an object has other than its base, and what copies them out, at most 64 at a time.
    private struct Changes {
        var runs: [PageRange]
        var read: (PageRange, UnsafeMutableRawPointer) throws(StoreError) -> Void
    }

    /// What a copy has other than its base: later ones lie over earlier ones.
    private func changes(
        _ id: ObjectID, _ source: MappedObject?, _ view: ObjectView?, _ differing: [PageRange], within live: PageRange, _ range: PageRange
    ) -> [Changes] {
        var layers: [Changes] = []
        func add(_ runs: [PageRange], _ range: PageRange, _ read: @escaping (PageRange, UnsafeMutableRawPointer) throws(StoreError) -> Void) {
            let runs = runs.map { $0.intersection(range) }.filter { !$0.isEmpty }
            if !runs.isEmpty { layers.append(Changes(runs: runs, read: read)) }
        }
        if let view { add(differing, live) { (piece, target) throws(StoreError) in try view.read(piece, into: target) } }
        if let carried = carried[id] {
            add(carried.runs, range) { piece, target in
                memcpy(target, carried.origin + piece.start * Page.size, piece.count * Page.size)
            }
        }
        if let source {
            add(source.pending, range) { (piece, target) throws(StoreError) in
                // What is pending in shared memory is there.
                guard case .shared(let shared) = source.home else { return try source.copyOut(piece, into: target) }
                memcpy(target, shared.pointer(toPage: piece.start), piece.count * Page.size)
            }
        }
        return layers
    }

    /// The pages side by side; nil where there are none, or so many that they go to the copy's memory at once.
    private func pack(_ layers: [Changes], _ copied: [PageRange], _ size: UInt64) throws(StoreError) -> PackedPages? {
        let count = copied.reduce(0) { $0 + $1.count }
        guard count > 0, count <= PackedPages.most else { return nil }
        let packed = try PackedPages(copied)
        for layer in layers {
            for run in layer.runs { try packed.forEach(in: run, layer.read) }
        }
        let last = PageRange(start: Page.count(forBytes: Int(size)) - 1, count: 1)
        packed.forEach(in: last) { _, bytes in Self.zeroTail(of: bytes, size) }
        return packed
    }

    /// Puts the pages into the copy's memory at once.
    private func put(_ layers: [Changes], into copy: MappedObject) throws(StoreError) {
        guard !layers.isEmpty, case .shared(let target) = copy.home else { return }
        let most = 64
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: most * Page.size, alignment: Page.size)
        defer { buffer.deallocate() }
        for layer in layers {
            for run in layer.runs {
                var next = run.start
                while next < run.end {
                    let piece = PageRange(start: next, count: min(most, run.end - next))
                    try layer.read(piece, buffer)
                    if piece.end == copy.livePages.end { Self.zeroTail(of: buffer + (piece.count - 1) * Page.size, copy.size) }
                    try target.store(piece, from: buffer)
                    next = piece.end
                }
            }
        }
    }

    /// What was stored past the end in a source's last page is no part of a copy.
    private static func zeroTail(of lastPage: UnsafeMutableRawPointer, _ size: UInt64) {
        let tail = Int(size) & (Page.size - 1)
        if tail != 0 { memset(lastPage + tail, 0, Page.size - tail) }
    }

    /// A copy of pages of a managed object, taken now: what its manager answers later may be anything.
    private mutating func ingest(_ source: MappedObject, _ pages: PageRange, _ store: Store) throws(VMError) -> MappedObject {
        try require(pages, of: source)
        let copy = try fresh(size: min(source.size, UInt64(pages.end) << UInt64(Page.shift)), store)
        let range = pages.intersection(copy.livePages)
        guard !range.isEmpty, case .shared(let target) = copy.home, case .shared(let memory) = source.home else { return copy }
        try VMError.translating { () throws(StoreError) in
            try target.store(range, from: memory.pointer(toPage: range.start))
            Self.zeroTail(of: target.pointer(toPage: copy.livePages.end - 1), copy.size)
            copy.pending = [range]
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
