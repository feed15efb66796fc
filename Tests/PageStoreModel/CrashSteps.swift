internal import TestSupport

/// The steps of a process that is to be killed.
public enum CrashSteps {
    /// What a sequence is full of.
    public enum Mix: String, CaseIterable, Sendable {
        /// Commits of every kind.
        case everyday
        /// What takes layers and objects out of use, and the reclaiming that finds them.
        case merging
        /// Going back over layers that nobody sees then.
        case rollingBack
        /// Pages that go in ahead of their commit.
        case staging

        var kinds: [Step.Kind] {
            switch self {
            case .everyday:
                [
                    .write, .write, .write, .write, .write, .writeMany, .writeMany, .writeLarge, .resize, .cutAndGrow, .create,
                    .create, .delete, .rename, .snapshot, .snapshotPast, .deleteSnapshot, .rollback, .rollbackAndWrite, .clone,
                    .importPages, .mapChanges, .settle, .settle, .reclaim, .flush, .optimize,
                ]
            case .merging:
                [
                    .write, .write, .writeMany, .create, .create, .delete, .delete, .snapshot, .deleteSnapshot, .clone, .rollback,
                    .settle, .settle, .settle, .reclaim, .reclaim, .reclaim, .optimize,
                ]
            case .rollingBack:
                [
                    .write, .write, .write, .create, .delete, .snapshot, .snapshot, .deleteSnapshot, .settle, .settle, .rollback,
                    .rollback, .reclaim, .reclaim,
                ]
            case .staging: [.importPages, .importPages, .delete, .write, .settle]
            }
        }
    }

    public static func make(count: Int, seed: UInt64, _ mix: Mix = .everyday) -> [Step] {
        if count == 0 { return [] }
        var generator = SeededGenerator(seed: seed)
        let kinds = mix.kinds
        return [Step(.create, seed)] + (1..<count).map { _ in Step(kinds.randomElement(using: &generator)!, generator.next()) }
    }
}
