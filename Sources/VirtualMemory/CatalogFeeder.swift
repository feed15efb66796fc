internal import Catalog
internal import PageStore
internal import Synchronization
internal import VMTypes

/// Keeps the catalog up from the page store's outbox.
///
/// A catalog that cannot be written delays only itself: the outbox keeps what it has not heard.
final class CatalogFeeder: Sendable {
    private let pages: PageStore
    private let catalog: Catalog
    private let state = Mutex<(trimmed: Version, holds: Int)>((.zero, 0))

    /// Outbox rows that one transaction of the catalog takes.
    private static let chunk = 1000
    /// How far the catalog may be ahead of the trimmed outbox.
    private static let slack: UInt64 = 4096

    init(pages: PageStore, catalog: Catalog) {
        self.pages = pages
        self.catalog = catalog
    }

    /// Called after each settling.
    func settled() {
        do throws(StoreError) {
            try catchUp()
            let mark = try catalog.mark
            if mark.rawValue > state.withLock({ $0.trimmed.rawValue }) + Self.slack { try trim() }
        } catch {
            // It stays behind; the outbox keeps what it lacks, and `Store.close` or the next settling tries again.
        }
    }

    /// Applies all that is settled. Throws where the catalog cannot take it.
    func catchUp() throws(StoreError) {
        let commits = try pages.outbox(after: try catalog.mark)
        var start = 0
        while start < commits.count {
            let end = min(start + Self.chunk, commits.count)
            var batch: [CatalogCommit] = []
            for commit in commits[start..<end] { batch.append(try CatalogCommit(commit)) }
            _ = try catalog.apply(batch)
            start = end
        }
    }

    /// Runs `body` while nothing is taken from the outbox.
    func holdingOutbox(_ body: () throws(StoreError) -> Void) throws(StoreError) {
        state.withLock { $0.holds += 1 }
        defer { state.withLock { $0.holds -= 1 } }
        try body()
    }

    /// Up to where the outbox may be forgotten now; nil: all of it is wanted.
    func heard() throws(StoreError) -> Version? {
        guard state.withLock({ $0.holds == 0 }) else { return nil }
        return try catalog.mark
    }

    /// Forgets the part of the outbox that the catalog holds; a hold that begins meanwhile waits.
    func trim() throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            guard state.holds == 0 else { return }
            let mark = try catalog.mark
            try pages.trimOutbox(through: mark)
            state.trimmed = mark
        }
    }
}

extension CatalogCommit {
    /// What a commit of the page store means to the catalog.
    init(_ commit: CommitInfo) throws(StoreError) {
        var changes: [CatalogChange] = []
        var message = ""
        for operation in commit.operations {
            switch operation {
            case .createObject(let id, let name, let size, let residency):
                changes.append(
                    .createObject(id: id, name: name.isEmpty ? nil : name, size: size, residency: residency.rawValue))
            case .renameObject(let id, let name): changes.append(.renameObject(id: id, name: name.isEmpty ? nil : name))
            case .resizeObject(let id, let size): changes.append(.resizeObject(id: id, size: size))
            case .deleteObject(let id): changes.append(.deleteObject(id: id))
            case .lineage(let object, _, _, let size): changes.append(.resizeObject(id: object, size: size))
            case .createSnapshot(let name, let version, let object, let message):
                changes.append(
                    .createSnapshot(
                        name: name, version: version == .infinity ? commit.version : version, object: object,
                        message: message))
            case .deleteSnapshot(let name): changes.append(.deleteSnapshot(name: name))
            case .renameSnapshot(let from, let to): changes.append(.renameSnapshot(from: from, to: to))
            case .mapChanges(let blob): changes.append(contentsOf: try CatalogChange.decode(blob))
            case .message(let text): message = text
            case .setRetention: break
            }
        }
        self.init(
            version: commit.version, time: Double(commit.time) / 1e9, message: message, pages: commit.pages,
            bytes: commit.pages * Page.size, changes: changes)
    }
}
