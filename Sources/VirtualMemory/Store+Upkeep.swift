internal import Catalog
internal import Glibc
internal import HostMemory
public import PageStore
public import VMTypes

extension Store {
    /// Frees what nobody can see any more. With `dryRun`, only says what that would be.
    @discardableResult
    public func reclaim(dryRun: Bool = false) throws(StoreError) -> ReclaimReport {
        try ForkedChild.refuse()
        if let client {
            var request = ControlRequest(.reclaim)
            request.dryRun = dryRun
            return try client.call(request).reclaimed ?? ReclaimReport()
        }
        let report = try pages.reclaim(dryRun: dryRun)
        if !dryRun, let oldest = try pages.snapshots().first?.version ?? Optional(pages.settledVersion) {
            try feeder.catchUp()
            try catalog.forget(before: min(oldest, keptFrom()))
        }
        return report
    }

    /// The oldest version that policy keeps, and some more of the log.
    private func keptFrom() throws(StoreError) -> Version {
        let retention = pages.retention
        let kept = try catalog.log(limit: max(1000, Int(retention.versions)))
        guard let last = kept.last else { return .zero }
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let young = Double(time.tv_sec) - Double(retention.seconds)
        if retention.seconds == 0 || last.time < young { return last.version }
        return try catalog.log().last { $0.time >= young }?.version ?? last.version
    }

    /// Rewrites an object's last state, or every object's, in page order, so that it maps in long runs.
    public func optimize(_ object: String?) throws(StoreError) -> ReclaimReport {
        try ForkedChild.refuse()
        if let client {
            var request = ControlRequest(.optimize)
            request.object = object
            return try client.call(request).reclaimed ?? ReclaimReport()
        }
        var report = ReclaimReport()
        let objects = if let object { [try liveObject(object)] } else { try pages.objects().filter(\.isLive) }
        for info in objects {
            let one = try pages.optimize(info.id)
            report.layersMerged += one.layersMerged
            report.bytesRewritten += one.bytesRewritten
            report.bytesPinned = one.bytesPinned
        }
        return report
    }

    /// What is kept beside the head and snapshots.
    public var retention: Retention { pages.retention }

    public func setRetention(_ retention: Retention) throws(StoreError) {
        try ForkedChild.refuse()
        if let client {
            var request = ControlRequest(.retain)
            request.versions = retention.versions
            request.seconds = retention.seconds
            _ = try client.call(request)
            return
        }
        _ = try commitOperations([.setRetention(retention)], message: "")
    }

    /// Copies the store, as of its last commit, to a new path: whole or not at all, and while it is in use.
    public func backup(to destination: String) throws(StoreError) {
        try ForkedChild.refuse()
        if let client {
            var request = ControlRequest(.backup)
            request.name = HostFiles.absolute(destination)
            _ = try client.call(request)
            return
        }
        try Store.make(destination) { (folder) throws(StoreError) in
            // The catalog first: what the page store's copy is ahead of it still stands in its outbox.
            try feeder.holdingOutbox { () throws(StoreError) in
                try pages.settle()
                try feeder.catchUp()
                try catalog.copy(to: folder + "/" + StoreFile.catalog)
                try pages.backup(to: folder)
            }
        }
    }

    /// Every version that a living process pins.
    public func leases() throws(StoreError) -> [LeaseInfo] {
        try ForkedChild.refuse()
        return try pages.pinned()
    }

    /// The process that holds the writer's lock, if one does; this one, if it is this.
    public func writerProcess() throws(StoreError) -> Int32? { isWriter ? getpid() : try pages.writerProcess() }

    /// Figures of a store; sizes in bytes.
    public struct Statistics: Hashable, Sendable {
        public var uuid: String
        public var version: Version
        public var flushedVersion: Version
        public var settledVersion: Version
        public var objects: Int
        public var snapshots: Int
        /// Bytes of pages that the objects' last states hold.
        public var liveBytes: UInt64
        public var pageFileBytes: UInt64
        public var pageFileFreeBytes: UInt64
        public var journalBytes: UInt64
        public var journalUsedBytes: UInt64
        public var catalogBytes: UInt64
        /// What the store's files take on the disk.
        public var diskBytes: UInt64
        public var tracking: String
        public var demandFill: Bool
        public var windowBase: UInt64
    }

    public func statistics() throws(StoreError) -> Statistics {
        try ForkedChild.refuse()
        let usage = try pages.usage()
        let objects = try objects()
        return Statistics(
            uuid: uuid, version: isWriter ? pages.lastVersion : pages.settledVersion, flushedVersion: pages.flushedVersion,
            settledVersion: pages.settledVersion, objects: objects.count, snapshots: try pages.snapshots().count,
            liveBytes: objects.reduce(0) { $0 + UInt64($1.pagesWritten * Page.size) }, pageFileBytes: UInt64(usage.pages),
            pageFileFreeBytes: UInt64(usage.free), journalBytes: UInt64(pages.ringBytes),
            journalUsedBytes: UInt64(usage.journal), catalogBytes: diskBytes(StoreFile.catalog),
            diskBytes: [StoreFile.journal, StoreFile.pages, StoreFile.catalog, StoreFile.leases].reduce(0) { $0 + diskBytes($1) },
            tracking: tracking.rawValue, demandFill: demandFill, windowBase: pages.windowBase)
    }

    /// Bytes of the journal's ring that wait to be settled, and its size.
    public func journalUse() throws(StoreError) -> (used: UInt64, size: UInt64) {
        try ForkedChild.refuse()
        return (UInt64(try pages.usage().journal), UInt64(pages.ringBytes))
    }

    private func diskBytes(_ name: String) -> UInt64 {
        var s = stat()
        return stat(path + "/" + name, &s) == 0 ? UInt64(s.st_blocks) * 512 : 0
    }
}
