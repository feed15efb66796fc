internal import Glibc
internal import HostMemory
internal import PageStore
internal import Synchronization
internal import VMTypes

/// Answers for the pages of a mapped object from its layers: the store's memory manager, as the mapping sees it.
///
/// An object that no commit has made yet is all zeros.
final class StorePager: PageProvider {
    private let state: Mutex<(view: ObjectView?, size: UInt64)>
    let fileDescriptor: Int32

    init(view: ObjectView?, size: UInt64, fileDescriptor: Int32) {
        state = Mutex((view, size))
        self.fileDescriptor = fileDescriptor
    }

    /// Shorter runs are filled when touched, or copied: as long as what `ExclusiveMapping` maps from the file.
    private static let leastRun = 16

    var view: ObjectView? { state.withLock { $0.view } }

    /// From now on the object's pages come from `view`.
    func attach(_ view: ObjectView) { state.withLock { $0.view = view } }

    func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] {
        let (view, size) = state.withLock { $0 }
        if let view {
            return view.extents(in: range, joiningBelow: Self.leastRun).map { run in
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

    func fill(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
        if let view {
            try view.read(range, into: destination)
        } else {
            memset(destination, 0, range.count * Page.size)
        }
    }
}

/// An object in this process's memory: one mapping, and what is known of its changes. Guarded by the store's lock.
final class MappedObject {
    let id: ObjectID
    let mapping: ExclusiveMapping
    let pager: StorePager
    var size: UInt64
    /// Pages that the program said it writes, since the last commit.
    var declared: [PageRange] = []
    /// Some of its pages may not be read through the mapping: a commit copies them out first.
    var isRestricted = false
    /// Changed pages that the kernel has been asked about and has forgotten: what a commit takes or abandoning restores.
    /// They leave this list when they are in a version, or restored.
    var pending: [PageRange] = []
    /// A commit made the object, and its pages' table could not be had yet: the pager answers zeros.
    var needsView = false

    init(id: ObjectID, mapping: ExclusiveMapping, pager: StorePager, size: UInt64) {
        self.id = id
        self.mapping = mapping
        self.pager = pager
        self.size = size
    }

    /// Where page 0 of the object is or would be.
    var origin: UnsafeRawPointer {
        UnsafeRawPointer(bitPattern: UInt(mapping.address) &- UInt(mapping.pages.start * Page.size))!
    }

    var layer: LayerInput { LayerInput(object: id, size: size, runs: pending, origin: origin) }

    /// Moves what was stored to from the kernel's account to `pending`; what a failing host had told until then too.
    func gather() throws(StoreError) {
        guard mapping.writable else { return }
        let isFresh = pending.isEmpty
        defer { if !isFresh { pending = joined(pending) } }
        try mapping.takeDirty(into: &pending)
    }

    /// Notes pages that the program says it writes.
    func declare(_ pages: PageRange) {
        guard !pages.isEmpty else { return }
        if let last = declared.last, pages.start >= last.start, pages.start <= last.end {
            declared[declared.count - 1].count = max(last.end, pages.end) - last.start
        } else {
            declared.append(pages)
        }
    }
}
