internal import Catalog
public import HostMemory
internal import PageStore
internal import Synchronization
public import VMTypes

extension Store {
    /// A part of what it takes until a store's memory can be used.
    public enum OpeningPart: Sendable {
        /// Opening and recovering the page store.
        case pageStore
        case catalog
        /// Finding where the pages of mapped objects are, task by task.
        case pageTables
    }

    /// Seconds that each part took since the store was opened. The first two are done beside each other.
    public var openingTimes: [OpeningPart: Double] {
        let times = openingParts.withLock { $0 }
        return [.pageStore: times.pageStore, .catalog: times.catalog, .pageTables: times.pageTables]
    }

    /// Seconds by part.
    struct OpeningTimes {
        var pageStore = 0.0
        var catalog = 0.0
        var pageTables = 0.0
    }

    /// What a process wants of a store.
    public enum Access: Sendable {
        /// Be its writer; `.locked` where another process is, and not for a moment only.
        case write
        /// Read what is committed, beside a writer or without one.
        case read
        /// Write where nobody does, else read.
        case automatic
    }

    /// How a store is opened.
    public struct OpenOptions: Sendable {
        public var access: Access
        /// How dirty pages are found; nil takes the best that the host allows.
        public var tracking: DirtyTracking?
        /// Whether pages come when touched; nil takes what the host allows.
        public var demandFill: Bool?
        /// Check every page's checksum when it is mapped, rather than when it is copied only.
        public var checksOnMap: Bool
        /// The store is closed again in a moment: who wants to write meanwhile waits for that, ten seconds at most, where
        /// any other writer is `.locked` at once. For programs that look and go, as the commands do.
        public var isBrief: Bool
        /// How much memory of exclusive objects stays private to the process.
        public var residency: ResidencyPolicy

        public init(
            access: Access = .write, tracking: DirtyTracking? = nil, demandFill: Bool? = nil, checksOnMap: Bool = false,
            isBrief: Bool = false, residency: ResidencyPolicy = .keepsAll
        ) {
            self.access = access
            self.tracking = tracking
            self.demandFill = demandFill
            self.checksOnMap = checksOnMap
            self.isBrief = isBrief
            self.residency = residency
        }
    }

    /// Opens a store, recovering it where its last writer was cut off. No flag and no tool is needed after a crash.
    ///
    /// Throws `.noStore`, `.locked`, `.damaged`, `.newerFormat`, `.mismatchedFiles`, `.io`.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws(StoreError) -> Store {
        try ForkedChild.refuse()
        let path = normalized(path)
        switch options.access {
        case .write: return try openForWriting(path, options)
        case .read: return try openForReading(path, options)
        case .automatic:
            do throws(StoreError) { return try openForWriting(path, options) } catch {
                guard error.code == .locked else { throw error }
            }
            return try openForReading(path, options)
        }
    }

    private static func openForWriting(_ path: String, _ options: OpenOptions) throws(StoreError) -> Store {
        // Once the writer's lock is held, beside the page store.
        let begun = seconds()
        var opening: SideTask<OpenedBeside>?
        let pages: PageStore
        do throws(StoreError) {
            pages = try PageStore.open(path, access: .write, briefly: options.isBrief) { opening = beginOpeningBeside(path) }
        } catch {
            opening?.wait().close()
            throw error
        }
        let pagesOpen = seconds()
        let beside = opening?.wait() ?? OpenedBeside(folder: path)
        do throws(StoreError) {
            let catalog: Catalog
            do throws(StoreError) { catalog = try pairCatalog(try beside.catalog.get(), with: pages) } catch {
                if case .success(let listener) = beside.listener { listener.close() }
                throw error.code == .noStore ? missingCatalog(in: path) : error
            }
            let store = Store(path: path, pages: pages, catalog: catalog, client: nil, options: options)
            let feeder = store.feeder
            pages.afterSettling { feeder.settled() }
            pages.aroundSettling(BackgroundWork(begin: CompanionThread.begin, end: CompanionThread.end))
            let server = try ControlServer(store: store, listener: try beside.listener.get())
            store.server.withLock { $0 = server }
            try ForkHooks.add(store)
            store.openingParts.withLock {
                $0.pageStore = pagesOpen - begun
                $0.catalog = beside.catalogSeconds
            }
            return store
        } catch {
            pages.afterSettling(nil)
            try? pages.close()
            throw error
        }
    }

    /// What of a store is opened beside its page store.
    private struct OpenedBeside: Sendable {
        let catalog: Result<UnpairedCatalog, StoreError>
        let catalogSeconds: Double
        let listener: Result<ControlListener, StoreError>

        init(folder: String) {
            let begun = seconds()
            do throws(StoreError) {
                catalog = .success(try UnpairedCatalog(path: folder + "/" + StoreFile.catalog))
            } catch { catalog = .failure(error) }
            catalogSeconds = seconds() - begun
            // Found out once a process.
            _ = HostCapabilities.current
            do throws(StoreError) { listener = .success(try ControlListener(folder: folder)) } catch { listener = .failure(error) }
        }

        func close() {
            if case .success(let catalog) = catalog { catalog.close() }
            if case .success(let listener) = listener { listener.close() }
        }
    }

    private static func beginOpeningBeside(_ folder: String) -> SideTask<OpenedBeside> {
        SideTask { OpenedBeside(folder: folder) }
    }

    /// Task maps that left the outbox are in the catalog alone: a missing one is damage, and never made again without being
    /// asked.
    private static func missingCatalog(in folder: String) -> StoreError {
        StoreError(
            .damaged, "the store's \(StoreFile.catalog) is missing",
            advice: "Put it back from a backup, or run `varve repair`", path: folder + "/" + StoreFile.catalog)
    }

    /// The catalog of the writer's page store.
    private static func pairCatalog(_ found: UnpairedCatalog, with pages: PageStore) throws(StoreError) -> Catalog {
        let catalog = try found.paired(with: pages.uuid.bytes)
        let mark = try catalog.mark
        guard mark <= pages.lastVersion else {
            catalog.close()
            throw StoreError(
                .mismatchedFiles, "the catalog is at version \(mark), the page store only at \(pages.lastVersion)",
                advice: "Put back the files that belong together", path: pages.folder)
        }
        return catalog
    }

    /// A reader sees what is settled: whoever writes is asked to settle first; where nobody does, this process writes for
    /// the moment that takes.
    private static func openForReading(_ path: String, _ options: OpenOptions) throws(StoreError) -> Store {
        var attempts = 0
        while true {
            let client = ControlClient(folder: path)
            do throws(StoreError) {
                _ = try client.call(ControlRequest(.settle))
            } catch {
                attempts += 1
                guard error.code == .noStore || error.code == .locked, attempts < 20 else { throw error }
                do throws(StoreError) {
                    var options = options
                    options.isBrief = true
                    let writer = try openForWriting(path, options)
                    try writer.close()
                } catch {
                    // A writer that is just opening answers in a moment.
                    guard error.code == .locked, attempts < 20 else { throw error }
                    HostFiles.sleep(milliseconds: 50)
                    continue
                }
            }
            let pages = try PageStore.open(path, access: .read)
            let catalog: Catalog
            do throws(StoreError) {
                catalog = try Catalog.open(path: path + "/" + StoreFile.catalog, storeID: pages.uuid.bytes, readOnly: true)
            } catch {
                throw error.code == .noStore ? missingCatalog(in: path) : error
            }
            let store = Store(path: path, pages: pages, catalog: catalog, client: client, options: options)
            try ForkHooks.add(store)
            return store
        }
    }
}
