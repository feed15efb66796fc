internal import Catalog
public import PageStore
public import VMTypes

extension Store {
    /// Checks everything that is kept: structure, checksums of all live pages, chains, journal, catalog and how they agree.
    ///
    /// Reports each finding as it is met and goes on. Throws only where checking itself fails. Reading a file that somebody
    /// cut short may raise SIGBUS: check a store that is not trusted in a process of its own, as `varve verify` does.
    public func verify(_ report: (Finding) -> Void) throws(StoreError) -> VerifySummary {
        try ForkedChild.refuse()
        var summary = try pages.verify(report)
        func find(_ severity: Finding.Severity, _ message: String) {
            summary.findings += 1
            report(Finding(severity: severity, place: StoreFile.catalog, message: message))
        }
        do throws(StoreError) {
            for problem in try catalog.check() { find(.damage, problem) }
            let mark = try catalog.mark
            if mark > pages.lastVersion {
                find(.damage, "the catalog is at version \(mark), ahead of the page store's \(pages.lastVersion)")
            }
            if isWriter {
                try pages.settle()
                try feeder.catchUp()
            }
            try compareObjects(find)
        } catch {
            // A full disk keeps the catalog behind: that is no damage.
            find(error.code == .full ? .warning : .damage, error.description)
        }
        return summary
    }

    /// The catalog is derived: where it says other than the page store, it is the one that is wrong.
    private func compareObjects(_ find: (Finding.Severity, String) -> Void) throws(StoreError) {
        let known = try pages.objects().filter(\.isLive)
        let listed = Dictionary(try catalog.objects().map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        for object in known {
            guard let entry = listed[object.id] else {
                find(.damage, "object \(object.id) '\(object.name)' is missing")
                continue
            }
            if (entry.name ?? "") != object.name { find(.damage, "object \(object.id) is named '\(entry.name ?? "")', not '\(object.name)'") }
            if entry.size != object.size { find(.damage, "object \(object.id) has \(entry.size) bytes, not \(object.size)") }
        }
        let live = Set(known.map(\.id))
        for id in listed.keys.sorted() where !live.contains(id) { find(.damage, "object \(id) is listed, but is not there") }
        for task in try catalog.tasks() {
            for entry in try catalog.entries(of: task.id) {
                guard let object = entry.object, !live.contains(object) else { continue }
                find(.warning, "task '\(task.name)' maps object \(object), which is gone: its region is without access")
            }
        }
    }
}
