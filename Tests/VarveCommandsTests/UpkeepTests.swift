import Foundation
import Testing

@testable import VarveCommands

@Suite struct UpkeepTests {
    private func filled() -> TestStore {
        let store = TestStore()
        #expect(store("import", store.file("f", randomBytes(40_960))).code == 0)
        return store
    }

    @Test func statHasEveryKey() throws {
        let store = filled()
        let facts = try store("stat", "--json").json()
        #expect(
            Set(facts.keys) == [
                "store", "uuid", "version", "flushed_version", "settled_version", "objects", "snapshots", "live_bytes",
                "page_file_bytes", "page_file_free_bytes", "journal_bytes", "journal_used_bytes", "catalog_bytes",
                "disk_bytes", "tracking", "demand_fill", "window_base", "clean", "recovered_records",
            ])
        #expect(facts["objects"] as? Int == 1)
        #expect(store("stat").text.contains("Dirty tracking:"))
    }

    @Test func retentionIsShownAndSet() throws {
        let store = filled()
        #expect(try store("retain", "--json").json()["changed"] as? Bool == false)
        #expect(try store("retain", "--versions", "3", "--hours", "0.5", "--yes", "--json").json()["seconds"] as? Int == 1800)
        let kept = try store("retain", "--json").json()
        #expect(kept["versions"] as? Int == 3)
        #expect(kept["hours"] as? Double == 0.5)
        #expect(store("retain", "--hours", "0", "--yes").code == 0)
        #expect(store("retain").text == "Keeps the newest 3 versions.\n")
    }

    @Test func reclaimOptimizeAndLeases() throws {
        let store = filled()
        let keys: Set = ["layers_dropped", "layers_merged", "bytes_freed", "bytes_rewritten", "bytes_pinned", "dry_run"]
        #expect(try Set(store("reclaim", "--dry-run", "--json").json().keys) == keys)
        #expect(try store("reclaim", "--dry-run", "--json").json()["dry_run"] as? Bool == true)
        #expect(store("reclaim").code == 0)
        #expect(try Set(store("optimize", "f", "--json").json().keys) == keys)
        #expect(store("optimize").code == 0)
        #expect(store("optimize", "none").code == 2)
        let leases = try store("leases", "--json").json()
        #expect(leases["writer"] is NSNull)
        #expect(leases["leases"] is [Any])
        #expect(store("leases").text.contains("Writer: none"))
    }

    @Test func aBackupIsAStore() throws {
        let store = filled()
        let copy = store.beside("copy.varve")
        #expect(try store("backup", copy, "--json").json()["backup"] as? String == copy)
        #expect(run(["read", copy, "f"]).output == randomBytes(40_960))
        #expect(store("backup", copy).code == 2)
    }

    @Test func anIntactStoreVerifies() throws {
        let store = filled()
        let outcome = store("verify", "--json")
        #expect(outcome.code == 0, "\(outcome.errors)")
        let result = try outcome.json()
        #expect(result["ok"] as? Bool == true)
        #expect((result["findings"] as? [Any])?.isEmpty == true)
        #expect(result["pages_checked"] as? Int ?? 0 >= 10)
        #expect(store("verify").text.hasPrefix("Intact"))
    }

    @Test func damageIs12() throws {
        let store = filled()
        try store.damagePages()
        let outcome = store("verify", "--json")
        #expect(outcome.code == 12)
        if outcome.errors.isEmpty {
            #expect(try outcome.json()["ok"] as? Bool == false)
            #expect((try outcome.json()["findings"] as? [Any])?.isEmpty == false)
        } else {
            #expect(try outcome.jsonError()["code"] as? String == "damaged")
        }
        #expect(store("read", "f").code == 12)
    }

    @Test func repairCopiesWhatIsIntact() throws {
        let store = filled()
        let result = try store("repair", "--json").json()
        let copy = store.path + ".repaired"
        #expect(result["copy"] as? String == copy)
        #expect(result["pages_lost"] as? Int == 0)
        #expect(run(["read", copy, "f"]).output == randomBytes(40_960))
        #expect(store("repair").code == 2)
        #expect(store("repair", "--into", store.beside("other")).code == 0)
    }

    @Test func repairNamesWhatIsLost() throws {
        let store = filled()
        try store.damagePages()
        let outcome = store("repair", "--into", store.beside("saved"), "--json")
        #expect(outcome.code == 12)
        #expect(try outcome.json()["pages_lost"] as? Int == 1)
        #expect((try outcome.json()["lost"] as? [String])?.count == 1)
        let saved = run(["read", store.beside("saved"), "f"]).output
        #expect(saved.prefix(4096) == randomBytes(40_960).prefix(4096))
        #expect(saved.dropFirst(8192) == randomBytes(40_960).dropFirst(8192))
    }

    @Test func theDoctorLooksAtTheHost() throws {
        let result = try run(["doctor", "--json"]).json()
        let checks = try #require(result["checks"] as? [[String: String]])
        #expect(checks.contains { $0["name"] == "dirty_tracking" })
        #expect(checks.allSatisfy { Set($0.keys) == ["name", "status", "value", "advice"] })
        #expect(run(["doctor"]).text.contains("Stores work here."))
    }
}

extension TestStore {
    /// Changes a byte of what object `f` holds, in the file that its pages are in.
    func damagePages() throws {
        // Settled pages are in one file only.
        #expect(run(["ls", path]).code == 0)
        let file = path + "/pages.lmdb"
        var bytes = try #require(FileManager.default.contents(atPath: file))
        let wanted = randomBytes(40_960).prefix(8192).suffix(64)
        let place = try #require(bytes.range(of: wanted))
        bytes[place.lowerBound] ^= 0xff
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
        try handle.seek(toOffset: UInt64(place.lowerBound))
        try handle.write(contentsOf: bytes[place.lowerBound..<place.lowerBound + 1])
        try handle.close()
    }
}
