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

    var view: ObjectView? { state.withLock { $0.view } }

    /// From now on the object's pages come from `view`.
    func attach(_ view: ObjectView) { state.withLock { $0.view = view } }

    func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] {
        let (view, size) = state.withLock { $0 }
        if let view {
            return view.extents(in: range).map { run in
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

/// An object in this process's memory: one mapping, and what is known of its changes.
final class MappedObject {
    let id: ObjectID
    let mapping: ExclusiveMapping
    let pager: StorePager
    var size: UInt64
    /// Pages that the program said it writes, since the last commit.
    var declared: [PageRange] = []
    /// Some of its pages may not be read through the mapping: a commit copies them out first.
    var isRestricted = false
    /// Pages taken from the kernel's account by a commit that then failed.
    var pending: [PageRange] = []

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

    func layer(_ runs: [PageRange]) -> LayerInput { LayerInput(object: id, size: size, runs: runs, origin: origin) }
}

/// Changed pages of an object that was unmapped before they were committed.
///
/// Invariant: `origin + page * 4096` lies in a mapping of our own for every page below the object's end.
final class CarriedPages {
    private let base: UnsafeMutableRawPointer
    private let count: Int
    let size: UInt64
    let runs: [PageRange]

    init(_ object: MappedObject, _ runs: [PageRange]) throws(StoreError) {
        size = object.size
        self.runs = runs
        count = max(1, Page.count(forBytes: Int(object.size))) * Page.size
        let p = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let p, p != MAP_FAILED else {
            throw StoreError(.full, "no memory for the changed pages of object \(object.id)", errno: errno)
        }
        base = p
        for run in runs {
            try object.mapping.copyOut(run, into: base + run.start * Page.size)
        }
    }

    deinit { munmap(base, count) }

    var origin: UnsafeRawPointer { UnsafeRawPointer(base) }
}

/// Sorts runs and joins those that touch or overlap.
func joined(_ runs: [PageRange]) -> [PageRange] {
    guard runs.count > 1 else { return runs }
    if zip(runs, runs.dropFirst()).allSatisfy({ $0.end < $1.start }) { return runs }
    var result: [PageRange] = []
    result.reserveCapacity(runs.count)
    for run in runs.sorted(by: { $0.start < $1.start }) where !run.isEmpty {
        if let last = result.last, run.start <= last.end {
            result[result.count - 1].count = max(last.end, run.end) - last.start
        } else {
            result.append(run)
        }
    }
    return result
}
