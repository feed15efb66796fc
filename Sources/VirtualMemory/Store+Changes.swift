internal import PageStore
public import VMTypes

extension Store {
    /// How often each page of an object changed, over the versions of it that are kept.
    public struct ChangeCounts: Hashable, Sendable {
        public var object: ObjectID
        public var name: String
        /// Bytes, at the last commit.
        public var size: UInt64
        /// The versions that were compared, ascending, each with the one before it. All of them can be looked at.
        public var versions: [Version]
        /// Pages that changed, by page.
        public var runs: [Run]

        /// Neighbouring pages that changed equally often.
        public struct Run: Hashable, Sendable {
            public var pages: PageRange
            /// Of the comparisons, one fewer than the versions; 1 at least.
            public var changes: Int

            public init(pages: PageRange, changes: Int) {
                self.pages = pages
                self.changes = changes
            }
        }

        public init(object: ObjectID, name: String, size: UInt64, versions: [Version], runs: [Run]) {
            self.object = object
            self.name = name
            self.size = size
            self.versions = versions
            self.runs = runs
        }
    }

    /// Counts how often each page of a live object changed, by the checksums of the versions that are kept.
    ///
    /// Versions between two that are kept count as one change. It reads no page. Throws `.notFound`.
    public func changeCounts(of name: String) throws(StoreError) -> ChangeCounts {
        try ForkedChild.refuse()
        let object = try liveObject(name)
        var counts: [Int: Int] = [:]
        var versions: [Version] = []
        var before: ObjectView?
        for version in try pages.changes(of: object.id) {
            let view: ObjectView
            do throws(StoreError) { view = try pages.view(of: object.id, at: version) } catch {
                guard error.code == .notRetained || error.code == .notFound else { throw error }
                continue
            }
            versions.append(version)
            for run in before?.differences(from: view) ?? [] {
                for page in run.start..<run.end { counts[page, default: 0] += 1 }
            }
            before = view
        }
        var runs: [ChangeCounts.Run] = []
        for (page, changes) in counts.sorted(by: { $0.key < $1.key }) {
            if let last = runs.last, last.pages.end == page, last.changes == changes {
                runs[runs.count - 1].pages.count += 1
            } else {
                runs.append(.init(pages: PageRange(start: page, count: 1), changes: changes))
            }
        }
        return ChangeCounts(object: object.id, name: object.name, size: object.size, versions: versions, runs: runs)
    }
}
