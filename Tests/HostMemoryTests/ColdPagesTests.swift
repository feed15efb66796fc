import Glibc
import Synchronization
import Testing
import VMTypes

@testable import HostMemory

/// What is brought beside a page that a disk must be waited for.
@Suite("Pages that are on a disk")
struct ColdPagesTests {
    /// Pages of a file on a disk, in an order that no two neighbours share.
    final class ScatteredPages: PageProvider {
        static let count = 2048
        let fileDescriptor: Int32
        let filled = Mutex<[PageRange]>([])

        init() {
            var name = Array("/var/tmp/varve-cold-XXXXXX".utf8CString)
            fileDescriptor = mkstemp(&name)
            unlink(name)
            for page in 0..<Self.count {
                let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: page), count: Page.size)
                pwrite(fileDescriptor, bytes, Page.size, off_t(Self.place(page)))
            }
            fsync(fileDescriptor)
        }

        deinit { close(fileDescriptor) }

        private static func place(_ page: Int) -> Int { (page * 1031 % count) << Page.shift }

        /// Gives the file's pages back; false where the file system keeps them.
        func evict() -> Bool {
            posix_fadvise(fileDescriptor, 0, 0, POSIX_FADV_DONTNEED)
            return !SystemCall.isCached(fileDescriptor, 0, Self.count << Page.shift)
        }

        func runs(in range: PageRange) throws(StoreError) -> [(pages: PageRange, kind: RunKind)] { [(range, .fill)] }

        func places(in range: PageRange) -> [(pages: PageRange, offset: Int)] {
            (range.start..<range.end).map { (PageRange(start: $0, count: 1), Self.place($0)) }
        }

        func fill(_ range: PageRange, into destination: UnsafeMutableRawPointer) throws(StoreError) {
            for page in range.start..<range.end {
                pread(fileDescriptor, destination + (page - range.start) << Page.shift, Page.size, off_t(Self.place(page)))
            }
            filled.withLock { $0.append(range) }
        }

        func takeFilled() -> [PageRange] {
            filled.withLock { list in
                defer { list = [] }
                return list
            }
        }
    }

    private func mapping(_ provider: ScatteredPages) throws -> (AddressWindow, ExclusiveMapping) {
        let window = try AddressWindow(base: nil, byteCount: ScatteredPages.count << Page.shift)
        return (
            window,
            try ExclusiveMapping(
                address: window.base, pages: PageRange(start: 0, count: ScatteredPages.count), provider: provider, writable: false, demandFill: true)
        )
    }

    @Test func theAwaitedOneAlone() throws {
        guard HostCapabilities.current.demandFaults else { return }
        let provider = ScatteredPages()
        guard provider.evict() else { return }
        let (window, mapping) = try mapping(provider)
        defer { withExtendedLifetime(window) { mapping.unmap() } }
        // The service looks for what is on a disk since a fill took long, or since it began.
        _ = mapping.pointer(toPage: 2000).load(as: UInt8.self)
        _ = provider.takeFilled()
        for page in [1000, 100, 1500, 700] {
            #expect(mapping.pointer(toPage: page).load(as: UInt8.self) == UInt8(truncatingIfNeeded: page))
            #expect(provider.takeFilled() == [PageRange(start: page, count: 1)])
        }
    }

    @Test func allOfThemInOrder() throws {
        guard HostCapabilities.current.demandFaults else { return }
        let provider = ScatteredPages()
        guard provider.evict() else { return }
        let (window, mapping) = try mapping(provider)
        defer { withExtendedLifetime(window) { mapping.unmap() } }
        for page in 0..<ScatteredPages.count {
            #expect(mapping.pointer(toPage: page).load(as: UInt8.self) == UInt8(truncatingIfNeeded: page))
        }
        let filled = provider.takeFilled()
        #expect(filled.reduce(0) { $0 + $1.count } == ScatteredPages.count)
        #expect(filled.count <= ScatteredPages.count / 64 + 2, "\(filled.prefix(5))")
    }

    @Test func neighboursInMemoryComeToo() throws {
        guard HostCapabilities.current.demandFaults else { return }
        let provider = ScatteredPages()
        let (window, mapping) = try mapping(provider)
        defer { withExtendedLifetime(window) { mapping.unmap() } }
        #expect(mapping.pointer(toPage: 1000).load(as: UInt8.self) == UInt8(truncatingIfNeeded: 1000))
        #expect(provider.takeFilled().contains { $0.contains(1000) && $0.count > 32 })
    }
}
