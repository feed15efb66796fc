internal import VMTypes

extension Verifier {
    /// What the page tables' checkpoints say is what the headers of layers say.
    ///
    /// A damaged checkpoint is not used, and nothing is lost with it; an intact one that leads elsewhere would be believed.
    func checkCheckpoints(_ t: LMDB.Transaction) throws(StoreError) {
        let place = "\(StoreFile.pages), table checkpoints"
        var checkpoints: [ObjectID: CheckpointRow] = [:]
        try t.forEach(.checkpoints, from: Key(0), prefix: 8) { (key, value) throws(StoreError) in
            let object = ObjectID(Key.field(key, 8) ?? 0)
            do throws(StoreError) { checkpoints[object] = try CheckpointRow.decode(value, key: key) } catch {
                find(.warning, place, "the checkpoint of object \(object) is not used: \(error.message)", object)
            }
            return true
        }
        for (object, row) in checkpoints.sorted(by: { $0.key < $1.key }) {
            do throws(StoreError) { try check(row, of: object, place, t) } catch {
                // Of an object that was deleted only past states are kept: there may be nothing left to compare with.
                if error.code == .notRetained, objects[object]?.isLive == false { continue }
                find(.warning, place, "the checkpoint of object \(object) cannot be compared: \(error.message)", object)
            }
        }
    }

    private func check(_ row: CheckpointRow, of object: ObjectID, _ place: String, _ t: LMDB.Transaction) throws(StoreError) {
        let settled = store.settledVersion
        guard row.through <= settled, objects[object] != nil else {
            return find(.damage, place, "the checkpoint of object \(object) is of version \(row.through), which is not settled", object)
        }
        let segments = try store.segments(object, at: settled, lineage: { lineage[$0] ?? Lineage() })
        // After a rollback the next checkpoint takes its place.
        guard row.through >= segments[0].from else { return }
        let headers = try store.slotsFromHeaders(segments)
        defer {
            var headers = headers
            headers.deallocate()
        }
        var (storage, base, _) = try store.settledStorage(segments, settled: settled, t)
        defer { storage.deallocate() }
        guard base?.row == row else {
            return find(.warning, place, "the checkpoint of object \(object) is damaged and is not used", object)
        }
        for index in storage.unread.keys.sorted() where !storage.isIntact(index) {
            find(.warning, place, "chunk \(index) of the checkpoint of object \(object) is damaged and is not used", object)
        }
        storage.readAll()
        summary.bytesChecked += row.chunks.count * CheckpointChunk.valueSize
        for page in 0..<max(storage.extent, headers.extent) where storage[page] != headers[page] {
            find(
                .damage, place, "the checkpoint of object \(object) says of page \(page) what its layers do not", object,
                PageRange(start: page, count: 1))
        }
    }
}
