internal import Glibc
internal import HostMemory
internal import PageStore
internal import Synchronization
internal import VMTypes

/// Answers for the pages of a mapped object from its layers: the store's memory manager, as the mapping sees it.
///
/// An object that no commit has made yet is all zeros, or, if it is a copy, what it was made of under its packed pages.
final class StorePager: PageProvider {
    private let state: Mutex<(view: ObjectView?, size: UInt64, packed: PackedPages?)>
    let fileDescriptor: Int32

    init(view: ObjectView?, size: UInt64, packed: PackedPages? = nil, fileDescriptor: Int32) {
        state = Mutex((view, size, packed))
        self.fileDescriptor = fileDescriptor
    }

    /// Shorter runs are filled when touched, or copied: as long as what `ExclusiveMapping` maps from the file.
    private static let leastRun = 16

    var view: ObjectView? { state.withLock { $0.view } }

    /// Pages of a copy that are not in its memory before they are touched.
    var packed: PackedPages? { state.withLock { $0.packed } }

    /// From now on the pages come from the view alone: memory has what was packed.
    func forgetPacked() { state.withLock { $0.packed = nil } }

    /// From now on the object's pages come from `view`.
    func attach(_ view: ObjectView) { state.withLock { $0.view = view } }

    func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] {
        let (view, size, packed) = state.withLock { $0 }
        let below = Self.runs(in: range, view, size)
        guard let packed else { return below }
        var result: [(pages: PageRange, kind: RunKind)] = []
        var next = 0
        /// What lies below, up to `end`, from where the result ends.
        func take(to end: Int) {
            while next < below.count, below[next].pages.start < end {
                let run = below[next].pages, start = max(run.start, result.last?.pages.end ?? range.start)
                let part = PageRange(start: start, count: max(0, min(run.end, end) - start))
                if !part.isEmpty { result.append((part, below[next].kind.moved(by: part.start - run.start))) }
                if run.end > end { break }
                next += 1
            }
        }
        packed.forEach(in: range) { part, _ in
            take(to: part.start)
            result.append((part, .fill))
        }
        take(to: range.end)
        return result
    }

    private static func runs(in range: PageRange, _ view: ObjectView?, _ size: UInt64) -> [(pages: PageRange, kind: RunKind)] {
        if let view {
            return view.extents(in: range, joiningBelow: leastRun).map { run in
                switch run.extent {
                case .zeros: (run.pages, .zero)
                case .file(let offset): (run.pages, .file(offset: offset))
                case .journal: (run.pages, .fill)
                case .beyondEnd: (run.pages, .beyondEnd)
                }
            }
        }
        let end = max(range.start, min(range.end, Page.count(forBytes: Int(size))))
        var runs: [(pages: PageRange, kind: RunKind)] = []
        if end > range.start { runs.append((PageRange(start: range.start, count: end - range.start), .zero)) }
        if range.end > end { runs.append((PageRange(start: end, count: range.end - end), .beyondEnd)) }
        return runs
    }

    func places(in range: PageRange) -> [(pages: PageRange, offset: Int)] {
        guard let view else { return [] }
        return view.extents(in: range).compactMap { run in
            if case .file(let offset) = run.extent { (run.pages, offset) } else { nil }
        }
    }

    func fill(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        let (view, _, packed) = state.withLock { $0 }
        func below(_ pages: PageRange) throws(StoreError) {
            let target = destination + (pages.start - range.start) * Page.size
            guard pages.count > 0 else { return }
            if let view { try view.read(pages, into: target) } else { memset(target, 0, pages.count * Page.size) }
        }
        var next = range.start
        // What lies under a packed page may be damaged.
        try packed?.forEach(in: range) { (part, bytes) throws(StoreError) in
            try below(PageRange(start: next, count: part.start - next))
            memcpy(destination + (part.start - range.start) * Page.size, bytes, part.count * Page.size)
            next = part.end
        }
        try below(PageRange(start: next, count: range.end - next))
    }
}

extension RunKind {
    /// The kind of a run without its first pages.
    fileprivate func moved(by pages: Int) -> RunKind {
        if case .file(let offset) = self { .file(offset: offset + pages * Page.size) } else { self }
    }
}
