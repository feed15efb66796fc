internal import GRDB
public import VMTypes

extension Catalog {
    /// Removes what only versions below `version` show: rows that died by then and that no snapshot's version
    /// shows, and log entries of versions that no snapshot names.
    ///
    /// Reads at `version`, at later ones and at every snapshot's version give what they gave; reads at
    /// others may lack rows. Forgetting again, or less, changes nothing.
    public func forget(before version: Version) throws(StoreError) {
        let moment = StoredVersion.moment(version)
        try write("forget what is before version \(version)") { db in
            let unseen = """
                died <= ? AND died < \(StoredVersion.never) AND NOT EXISTS
                    (SELECT 1 FROM snapshots WHERE snapshots.version >= born AND snapshots.version < died)
                """
            let all = "task IN (SELECT task FROM task_numbers)"
            try db.run("DELETE FROM objects WHERE \(unseen)", [moment])
            try db.run("DELETE FROM tasks WHERE \(unseen)", [moment])
            try db.run("DELETE FROM entries WHERE \(all) AND \(unseen)", [moment])
            try db.run(
                """
                DELETE FROM task_numbers WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.task = task_numbers.task)
                    AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.task = task_numbers.task)
                """)
            try db.run(
                """
                DELETE FROM commits WHERE version < ? AND NOT EXISTS
                    (SELECT 1 FROM snapshots WHERE snapshots.version = commits.version)
                """, [moment])
        }
    }
}
