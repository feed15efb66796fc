internal import Catalog
internal import PageStore
public import VMTypes

/// What repairing a store saved and what it could not.
public struct StoreRepair: Hashable, Sendable {
    public var objects: Int
    public var snapshots: Int
    /// Pages that are in the copy as they were.
    public var pagesKept: Int
    /// Pages that read as zeros in the copy because their bytes were damaged.
    public var pagesLost: Int
    /// Everything that is not in the copy as it was, a sentence each.
    public var lost: [String]
}

extension Store {
    /// Makes a store at `copy` of all that is intact at `path`, which is only read.
    ///
    /// Objects, snapshots and the pages of both are saved; maps too, where the catalog can be read. Versions are counted anew
    /// and the copy is a store of its own. Throws `.damaged` where the page store's trees cannot be walked, `.locked` where a
    /// process writes the store.
    public static func repair(_ path: String, into copy: String, _ progress: (String) -> Void = { _ in }) throws(StoreError) -> StoreRepair {
        let path = normalized(path)
        var result = StoreRepair(objects: 0, snapshots: 0, pagesKept: 0, pagesLost: 0, lost: [])
        try make(copy) { (folder) throws(StoreError) in
            let report = try PageStore.repair(path, into: folder, progress: progress)
            result.objects = report.objects
            result.snapshots = report.snapshots
            result.pagesKept = report.pages
            result.pagesLost = report.lost.reduce(0) { $0 + $1.pages.count }
            result.lost = report.dropped
            for loss in report.lost {
                let place = loss.snapshot.map { "snapshot '\($0)'" } ?? "the last version"
                result.lost.append("\(loss.pages) of object \(loss.object) in \(place) were damaged and read as zeros")
            }
            progress("rebuilding the catalog")
            let pages = try PageStore.open(folder)
            do throws(StoreError) {
                result.lost += try saveMaps(from: path, to: pages)
                try Catalog.create(path: folder + "/" + StoreFile.catalog, storeID: pages.uuid.bytes)
                let catalog = try Catalog.open(path: folder + "/" + StoreFile.catalog, storeID: pages.uuid.bytes)
                defer { catalog.close() }
                try pages.settle()
                try CatalogFeeder(pages: pages, catalog: catalog).catchUp()
            } catch {
                try? pages.close()
                throw error
            }
            try pages.close()
        }
        return result
    }

    /// Takes the tasks and their maps from the old catalog, each by itself; says which it could not, and why.
    private static func saveMaps(from path: String, to pages: PageStore) throws(StoreError) -> [String] {
        var changes: [CatalogChange] = []
        var lost: [String] = []
        do throws(StoreError) {
            let old = try Catalog.openUnpaired(path: path + "/" + StoreFile.catalog)
            defer { old.close() }
            for task in try old.tasks() {
                pages.skipIDs(through: task.id.rawValue)
                do throws(StoreError) {
                    let saved = SavedTask(
                        id: task.id, name: task.name, base: task.windowBase, size: task.windowSize, entries: try old.entries(of: task.id))
                    if let contradiction = saved.contradiction {
                        throw StoreError(.damaged, "it contradicts itself: \(contradiction)")
                    }
                    changes.append(.createTask(id: saved.id, name: saved.name, windowBase: saved.base, windowSize: saved.size))
                    guard !saved.entries.isEmpty else { continue }
                    changes.append(.setEntries(task: saved.id, start: saved.base, end: saved.base + saved.size, entries: saved.entries))
                } catch { lost.append("the map of task '\(task.name)': \(error.message)") }
            }
        } catch { lost.append("the maps of tasks: \(error.message)") }
        if !changes.isEmpty { _ = try pages.commit([], operations: [.mapChanges(CatalogChange.encode(changes))]) }
        return lost
    }
}
