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
