internal import VMTypes

extension Verifier {
    /// Checks every part's header and every page of it.
    func readRecords(_ t: LMDB.Transaction) throws(StoreError) {
        let named = Set(rows.flatMap { object, rows in rows.map { RecordKey(object: object.rawValue, record: $0.row.record) } })
        try t.forEach(.records, from: Key()) { (key, value) throws(StoreError) in
            let record = RecordKey(object: Key.field(key, 0) ?? 0, record: Key.field(key, 8) ?? 0)
            let part = Key.part(key, 16) ?? .max
            let object = ObjectID(record.object)
            let place = "\(StoreFile.pages), part \(part) of record \(record.record) of object \(object)"
            parts[record, default: []].append(part)
            // A part in the graveyard may still be mapped; nothing that is opened from now on needs it.
            let severity: Finding.Severity = named.contains(record) || graves[record]?.isStaged == true ? .damage : .warning
            let header: LayerPart.Header
            do throws(StoreError) {
                header = try LayerPart.Header(from: value, what: place)
                guard header.object == object, header.record == record.record, header.part == part, header.store == store.uuid
                else { throw StoreError(.damaged, "the header is another's: \(header.object), \(header.record), \(header.part)") }
                extents.append((try t.filePage(of: value), value.count / Page.size + 1, record))
            } catch {
                find(severity, place, error.message, object)
                return true
            }
            check(header, value.baseAddress!, place, severity)
            return true
        }
        extents.sort { $0.first < $1.first }
        for (a, b) in zip(extents, extents.dropFirst()) where a.first + a.count > b.first {
            find(.damage, StoreFile.pages, "records \(a.key.record) and \(b.key.record) share page \(b.first)", ObjectID(b.key.object))
        }
    }

    private func check(_ header: LayerPart.Header, _ value: UnsafeRawPointer, _ place: String, _ severity: Finding.Severity) {
        summary.bytesChecked += LayerPart.headerSize
        var bytes = value + LayerPart.headerSize
        for entry in header.entries {
            if entry.isZero { continue }
            summary.pagesChecked += 1
            summary.bytesChecked += Page.size
            if Checksum.of(bytes, count: Page.size) != entry.checksum, !Mutant.isPlanted(.verifyUnchecked) {
                let pages = PageRange(start: Int(entry.page), count: 1)
                find(severity, place, "page \(entry.page) does not match its checksum", header.object, pages)
            }
            bytes += Page.size
        }
    }

    /// Every part belongs to a version, to a stage or to the graveyard, and none is missing.
    func checkRecords() {
        var named: Set<RecordKey> = []
        for (object, rows) in rows.sorted(by: { $0.key < $1.key }) {
            for (version, row) in rows where !row.isGap {
                let key = RecordKey(object: object.rawValue, record: row.record)
                let place = "\(StoreFile.pages), version \(version) of object \(object)"
                if !named.insert(key).inserted { find(.damage, place, "record \(row.record) belongs to two versions", object) }
                if graves[key] != nil { find(.damage, place, "record \(row.record) lies in the graveyard and is in use", object) }
                if (parts[key] ?? []) != (0..<row.partCount).map({ $0 }) {
                    find(.damage, place, "record \(row.record) has parts \(parts[key] ?? []), not 0..<\(row.partCount)", object)
                }
            }
        }
        for (key, present) in parts where !named.contains(key) {
            let missing = Set(present).subtracting(graves[key]?.parts ?? [])
            if !missing.isEmpty {
                find(
                    .warning, StoreFile.pages, "nothing names parts \(missing.sorted()) of record \(key.record)", ObjectID(key.object))
            }
        }
        for (key, grave) in graves {
            let absent = grave.parts.subtracting(parts[key] ?? [])
            if !absent.isEmpty {
                find(
                    grave.isStaged ? .damage : .warning, StoreFile.pages,
                    "the graveyard names parts \(absent.sorted()) of record \(key.record), which are not there", ObjectID(key.object))
            }
        }
    }

    /// The superblock, and every record that is not settled.
    func checkJournal() throws(StoreError) {
        attempt(StoreFile.journal) { () throws(StoreError) in
            _ = try Journal(path: store.journal.file.path, readOnly: true)
        }
        let young = store.state.withLock { $0.young }
        let buffer = AlignedBuffer(capacity: 1 << 20)
        linkPatches(of: young)
        for record in young {
            summary.journalRecords += 1
            let place = "\(StoreFile.journal), version \(record.version)"
            attempt(place) { () throws(StoreError) in
                let count = Int(record.header.length)
                buffer.reserve(count)
                try store.journal.read(into: buffer[0..<count], at: record.header.position)
                guard let header = JournalHeader(from: buffer.base), header == record.header,
                    Checksum.of(UnsafeRawPointer(buffer.base) + 16, count: Int(header.prologueBytes) - 16) == header.checksum
                else { throw StoreError(.damaged, "the record's prologue is not what was written") }
                summary.bytesChecked += count
                let prologue = try JournalPrologue(
                    header: header, bytes: UnsafeRawBufferPointer(buffer[0..<Int(header.prologueBytes)]))
                check(prologue, record, UnsafeRawPointer(buffer.base), place)
                try checkPatches(record, place)
            }
        }
    }

    /// The whole pages of a record that was read from the journal, and the lines of its patches.
    private func check(_ prologue: JournalPrologue, _ record: YoungRecord, _ bytes: UnsafeRawPointer, _ place: String) {
        var page = bytes + prologue.layout.pages
        var lines = bytes + prologue.layout.lines
        for layer in prologue.layers where layer.record == 0 {
            for entry in layer.entries where entry.isWhole {
                summary.pagesChecked += 1
                if Checksum.of(page, count: Page.size) != entry.checksum {
                    find(
                        .damage, place, "page \(entry.page) does not match its checksum", layer.object,
                        PageRange(start: Int(entry.page), count: 1))
                }
                page += Page.size
            }
            let count = layer.lineCount * LineMask.lineSize
            if count > 0, Checksum.of(lines, count: count) != layer.lineSum {
                find(.damage, place, "the lines of patches of object \(layer.object) do not match their checksum", layer.object)
            }
            lines += count
        }
    }

    /// Finds out what patches lie over that recovery found. The newest records come first: what tells of them tells of most
    /// that is older.
    private func linkPatches(of young: [YoungRecord]) {
        guard store.youngPages.hasUnlinked else { return }
        for record in young.reversed() {
            for layer in record.layers where layer.record == 0 && layer.places.contains(where: { !store.youngPages.isKnown($0) }) {
                attempt("\(StoreFile.journal), version \(record.version)", layer.object) { () throws(StoreError) in
                    try store.linkYoungPages(of: layer.object, at: record.version)
                }
            }
        }
    }

    /// The pages that a record's patches make, each with the whole chain below it.
    private func checkPatches(_ record: YoungRecord, _ place: String) throws(StoreError) {
        let page = AlignedBuffer(capacity: Page.size)
        for layer in record.layers where layer.record == 0 && layer.entries.contains(where: \.isPatch) {
            for (entry, patch) in zip(layer.entries, layer.places) where entry.isPatch {
                summary.pagesChecked += 1
                summary.bytesChecked += Page.size
                var isIntact = false
                do throws(StoreError) {
                    try store.readYoung(patch, into: page.base, usesMemory: false)
                    isIntact = Checksum.of(UnsafeRawPointer(page.base), count: Page.size) == entry.checksum
                } catch { guard error.isLossOfBytes else { throw error } }
                guard !isIntact else { continue }
                find(
                    .damage, place, "page \(entry.page) does not match its checksum: its patch, or what that lies over, is damaged",
                    layer.object, PageRange(start: Int(entry.page), count: 1))
            }
        }
    }
}
