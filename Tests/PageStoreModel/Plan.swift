public import PageStore
public import VMTypes

/// One step of a random run: everything else about it follows from the number and the model's state, so that a run stays
/// meaningful when steps are taken out.
public struct Step: Hashable, Sendable, CustomStringConvertible {
    public enum Kind: Int, CaseIterable, Sendable {
        case write, writeMany, writeLarge, resize, cutAndGrow, create, delete, rename
        case snapshot, snapshotPast, deleteSnapshot, renameSnapshot
        case rollback, rollbackAndWrite, clone, importPages, mapChanges
        case settle, settleOnce, flush, reclaim, optimize, merge
        case openView, openHead, closeView, readViews, readPast, differences
        case reopen, crash
    }

    public var kind: Kind
    public var seed: UInt64
    public var description: String { ".init(.\(kind), \(seed))" }

    public init(_ kind: Kind, _ seed: UInt64) {
        self.kind = kind
        self.seed = seed
    }
}

/// What a committing step does to the store, and the state it leads to.
public struct CommitPlan: Sendable {
    public struct Layer: Sendable {
        public var object: ObjectID
        public var size: Int
        public var floor: UInt32 = .max
        /// Ascending.
        public var pages: [(page: Int, content: PageContent)] = []
    }

    public var layers: [Layer] = []
    public var operations: [StoreOperation] = []
    public var durability = Durability.synced
    /// The pages go in through a stage: one layer.
    public var isImport = false
    public var state: Model.State
    /// The objects that get a layer.
    public var changed: Set<ObjectID> = []
    public var made: [(name: String, version: Version, object: ObjectID?)] = []
    public var dropped: [String] = []
    public var renamed: [(from: String, to: String)] = []

    public init(state: Model.State) { self.state = state }
}

extension Model {
    /// Records that `plan` became `version`.
    public mutating func apply(_ plan: CommitPlan, as version: Version) {
        let past = plan.made.map { made in made.version == .infinity ? [:] : state(at: made.version)! }
        state = plan.state
        if version > last {
            for id in plan.changed where state[id] != nil {
                state[id]!.layers.append(version)
                if state[id]!.layers.count > 16 { state[id]!.layers.removeFirst() }
            }
            history.append((version, state))
            if history.count > 48 { history.removeFirst() }
        }
        last = max(last, version)
        for name in plan.dropped { snapshots[name] = nil }
        for (from, to) in plan.renamed { snapshots[to] = snapshots.removeValue(forKey: from) }
        for (index, (name, at, object)) in plan.made.enumerated() {
            let state = at == .infinity ? self.state : past[index]
            snapshots[name] = Snapshot(version: at == .infinity ? version : at, object: object, state: state)
        }
    }
}
