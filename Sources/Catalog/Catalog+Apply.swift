internal import GRDB
public import VMTypes

extension Catalog {
    /// Makes the changes of `commits`, which are in ascending order of version, in one transaction.
    ///
    /// A commit at or below the `mark` is skipped, so applying a list again changes nothing. Either all of
    /// the list is there when this returns, durably, with the mark at its last version, or nothing is.
    ///
    /// - Returns: one sentence for each change that found nothing to change: expected after a repair, a sign
    ///   of an error elsewhere otherwise.
    /// - Throws: `.invalid` for a descending list, a version at or above 2^63 - 2, or a malformed change
    ///   (`CatalogChange.problem`); `.readOnly`; `.busy`; `.full`; `.io`; `.damaged`.
    @discardableResult
    public func apply(_ commits: [CatalogCommit]) throws(StoreError) -> [String] {
        try validate(commits)
        // Until it is known whether the transaction counts, the file alone can say.
        remember(nil)
        let (notes, mark) = try write("apply \(commits.count) commits") { db in
            var mark = try Self.mark(in: db)
            var notes: [String] = []
            for commit in commits where commit.version > mark || Mutant.isPlanted(.changesAppliedTwice) {
                var writer = CatalogWriter(db: db, commit: commit)
                try writer.perform()
                notes += writer.notes
                mark = commit.version
            }
            try db.run("UPDATE store SET mark = ?1 WHERE mark < ?1", [Int64(mark.rawValue) + (Mutant.isPlanted(.catalogMarkAhead) ? 1 : 0)])
            return (notes, mark)
        }
        remember(mark)
        return notes
    }

    private func validate(_ commits: [CatalogCommit]) throws(StoreError) {
        var last = Version.zero
        for commit in commits {
            guard commit.version >= last, commit.version.fitsCatalog else {
                throw StoreError(
                    .invalid, "the commit of version \(commit.version) follows that of version \(last)", path: path)
            }
            last = commit.version
            for change in commit.changes {
                guard let problem = change.problem else { continue }
                throw StoreError(.invalid, "a change of version \(commit.version): \(problem)", path: path)
            }
        }
    }
}
