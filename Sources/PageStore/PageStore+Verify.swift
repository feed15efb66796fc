public import VMTypes

extension PageStore {
    /// Checks every byte that something still needs, and tells each finding as it is met; goes on after one.
    ///
    /// Commits go on meanwhile; settling and merging wait. A process that only reads checks what is settled, and leaves
    /// out the file's structure while a writer changes it. Throws where the files cannot be read at all.
    @discardableResult
    public func verify(_ report: (Finding) -> Void) throws(StoreError) -> VerifySummary {
        var result: Result<VerifySummary, StoreError>?
        withoutActuallyEscaping(report) { report in
            do throws(StoreError) {
                result = .success(
                    try exclusively { () throws(StoreError) in
                        let verifier = Verifier(self, report)
                        try verifier.run()
                        return verifier.summary
                    })
            } catch { result = .failure(error) }
        }
        return try result!.get()
    }
}

/// One run of `verify`. Used by one thread, while nothing settles or merges.
final class Verifier {
    struct RecordKey: Hashable {
        var object: UInt64
        var record: UInt64
    }

    let store: PageStore
    private let report: (Finding) -> Void
    var summary = VerifySummary()
    var objects: [ObjectID: ObjectInfo] = [:]
    var rows: [ObjectID: [(version: Version, row: VersionRow)]] = [:]
    var lineage: [ObjectID: Lineage] = [:]
    var snapshots: [SnapshotInfo] = []
    var chains: [ObjectID: ChainRow] = [:]
    var found: [ObjectID: ChainRow] = [:]
    /// Parts that the graveyard names: how often, and whether as staged.
    var graves: [RecordKey: (parts: Set<UInt32>, isStaged: Bool)] = [:]
    /// Parts that are there.
    var parts: [RecordKey: [UInt32]] = [:]
    var extents: [(first: Int, count: Int, key: RecordKey)] = []

    init(_ store: PageStore, _ report: @escaping (Finding) -> Void) {
        self.store = store
        self.report = report
    }

    func find(_ severity: Finding.Severity, _ place: String, _ message: String, _ object: ObjectID? = nil, _ pages: PageRange? = nil) {
        summary.findings += 1
        report(Finding(severity: severity, place: place, message: message, object: object, pages: pages))
    }

    /// Runs `body`; what it throws is a finding.
    @discardableResult
    func attempt<T>(_ place: String, _ object: ObjectID? = nil, _ body: () throws(StoreError) -> T) -> T? {
        do throws(StoreError) { return try body() } catch {
            find(.damage, place, error.message, object)
            return nil
        }
    }

    func run() throws(StoreError) {
        var isAlone = store.isWriter
        if !isAlone { isAlone = try store.leases.writer() == nil }
        var isSound = true
        if isAlone {
            let structure = try LMDBFile.inspect(store.pages, limit: nil)
            for problem in structure.problems { find(.damage, StoreFile.pages, problem) }
            if structure.leakedPages > 0 {
                find(.warning, StoreFile.pages, "\(structure.leakedPages) pages are neither used nor free")
            }
            // LMDB ends the process on some damage of its trees: what hangs on them is not looked at.
            isSound = structure.problems.isEmpty
        }
        if isSound {
            try store.lmdb.read { (t) throws(StoreError) in
                try readTables(t)
                try readRecords(t)
                checkRecords()
                checkObjects(t)
                try checkCheckpoints(t)
                checkCounters(t)
            }
        }
        try checkJournal()
    }
}
