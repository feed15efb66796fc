internal import TestSupport

/// The steps of a process that is to be killed.
public enum CrashSteps {
    public static func make(count: Int, seed: UInt64) -> [Step] {
        if count == 0 { return [] }
        var generator = SeededGenerator(seed: seed)
        let kinds: [Step.Kind] = [
            .write, .write, .write, .write, .write, .writeMany, .writeMany, .writeLarge, .resize, .cutAndGrow, .create, .create,
            .delete, .rename, .snapshot, .snapshotPast, .deleteSnapshot, .rollback, .rollbackAndWrite, .clone, .importPages,
            .mapChanges, .settle, .settle, .reclaim, .flush, .optimize,
        ]
        return [Step(.create, seed)] + (1..<count).map { _ in Step(kinds.randomElement(using: &generator)!, generator.next()) }
    }
}
