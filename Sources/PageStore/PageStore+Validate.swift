internal import VMTypes

extension StoreOperation {
    /// The operation makes a state of the past one that is kept from now on.
    var pinsPast: Bool {
        switch self {
        case .lineage: true
        case .createSnapshot(_, let version, _, _): version != .infinity
        default: false
        }
    }

    /// The operation is checked against the names, objects and snapshots before it.
    var needsOrder: Bool {
        switch self {
        case .mapChanges, .message, .setRetention: false
        default: true
        }
    }
}

extension PageStore {
    /// The layers with what the operations ask of them: an object that is made or resized has a layer that says its size,
    /// and what lies past a new size is gone.
    func completed(
        _ inputs: [LayerInput], _ staged: [(layer: JournalLayer, places: [Place])], _ operations: [StoreOperation]
    ) -> [LayerInput] {
        var inputs = inputs
        for operation in operations {
            switch operation {
            case .createObject(let object, _, let size, _):
                // The lineage tells the size where there is one.
                let hasLineage = operations.contains { if case .lineage(object, _, _, _) = $0 { true } else { false } }
                if !hasLineage { add(object, size, floor: .max) }
            case .resizeObject(let object, let size):
                add(object, size, floor: UInt32(clamping: Page.count(forBytes: Int(clamping: size))))
            default: break
            }
        }
        func add(_ object: ObjectID, _ size: UInt64, floor: UInt32) {
            if let index = inputs.firstIndex(where: { $0.object == object }) {
                inputs[index].floorPage = min(inputs[index].floorPage, floor)
            } else if !staged.contains(where: { $0.layer.object == object }) {
                inputs.append(LayerInput(object: object, size: size, floorPage: floor, runs: [], origin: Self.noPages))
            }
        }
        return inputs
    }

    /// Where the pages of a layer without pages are.
    private static var noPages: UnsafeRawPointer { UnsafeRawPointer(bitPattern: Page.size)! }

    /// Leases on the past states that the operations are to keep, held until the commit is done.
    func pins(of operations: [StoreOperation]) throws(StoreError) -> [LeaseFile.Lease] {
        var pins: [LeaseFile.Lease] = []
        for operation in operations where operation.pinsPast {
            let (epoch, horizon) = state.withLock { ($0.epoch, $0.nextRecord) }
            switch operation {
            case .lineage(_, let source, let version, _):
                pins.append(try leases.acquire(object: source, version: version, epoch: epoch, horizon: horizon))
            case .createSnapshot(_, let version, let object, _):
                pins.append(try leases.acquire(object: object, version: version, epoch: epoch, horizon: horizon))
            default: break
            }
        }
        return pins
    }

    /// Throws what forbids the record; called by the leader, with the state's lock.
    func validate(_ request: CommitRequest, _ state: inout State) throws(StoreError) {
        for operation in request.operations where operation.pinsPast {
            switch operation {
            case .lineage(_, let source, let version, _): try requireKept(source, at: version, &state)
            case .createSnapshot(_, let version, let object?, _): try requireKept(object, at: version, &state)
            case .createSnapshot(_, let version, nil, _):
                for object in try state.metadata.allObjects() where object.born <= version && version < object.died {
                    try requireKept(object.id, at: version, &state)
                }
            default: break
            }
        }
        if request.operations.count(where: \.needsOrder) < 2 {
            for operation in request.operations { try state.metadata.validate(operation) }
        } else {
            // Each is checked against those before it.
            var metadata = state.metadata
            for operation in request.operations {
                try metadata.validate(operation)
                try metadata.apply(operation, version: state.nextVersion, time: 0)
            }
        }
        for layer in request.layers {
            let isMade = request.operations.contains { if case .createObject(layer.object, _, _, _) = $0 { true } else { false } }
            if !isMade, try state.metadata.object(layer.object)?.isLive != true { throw Metadata.missing(layer.object) }
        }
    }

    /// Whether a state that the operations are to keep may be taken away by what moves layers now.
    func mayLosePast(of request: CommitRequest, _ state: inout State) throws(StoreError) -> Bool {
        guard state.rearranging != nil else { return false }
        for operation in request.operations where operation.pinsPast {
            switch operation {
            case .lineage(_, let object, let version, _), .createSnapshot(_, let version, let object?, _):
                if state.mayLose(version, try segments(object, at: version, &state)) { return true }
            default: return true
            }
        }
        return false
    }

    /// Throws `.notRetained` where `object` at `version` can no longer be put together.
    private func requireKept(_ object: ObjectID, at version: Version, _ state: inout State) throws(StoreError) {
        guard version <= state.last, let info = try state.metadata.object(object), info.born <= version, version < info.died
        else {
            throw StoreError(
                .notFound, "object \(object) is not part of version \(version)",
                advice: "`varve ls --at` lists a version's objects", path: folder)
        }
        // All that has settled of the last states is kept for the head.
        if version >= state.settled { return }
        let segments = try segments(object, at: version, &state)
        try lmdb.read { (t) throws(StoreError) in _ = try settledLayers(of: segments, t) }
    }

    /// Numbers of objects and tasks that are reserved at a time.
    private static let reservedIDs: UInt64 = 1024

    /// Says in the page store, before the first record of this opening, that its mark no longer covers the journal; and,
    /// before a record could name a number beyond the reserved ones, reserves more.
    func markDirty(beforeRecordOf length: Int = 0) throws(StoreError) {
        let length = UInt64(length)
        if state.withLock({ $0.markedDirty && $0.nextID <= $0.reservedID && length <= $0.longestRecord }) { return }
        var reserved: UInt64 = 0
        var longest: UInt64 = 0
        try exclusively { () throws(StoreError) in
            try lmdb.write { (t) throws(StoreError) in
                guard var meta = try t.row(.meta, StoreMeta.key, StoreMeta.self) else { return }
                if !Mutant.isPlanted(.storeStaysClean) { meta.clean = false }
                // From here on an older program must refuse the store.
                meta.format = StoreMeta.currentFormat
                // Versions and numbers from here on may be told to callers and then lost with a power cut.
                let (version, id) = state.withLock { ($0.nextVersion, $0.nextID) }
                meta.nextVersion = max(meta.nextVersion, version)
                meta.nextID = max(meta.nextID, id + Self.reservedIDs)
                reserved = meta.nextID
                meta.longestRecord = max(meta.longestRecord, Journal.roundedLongestRecord(length))
                longest = meta.longestRecord
                try t.put(.meta, StoreMeta.key, row: meta)
            }
        }
        state.withLock { state in
            state.markedDirty = true
            state.reservedID = reserved
            state.longestRecord = longest
        }
    }
}
