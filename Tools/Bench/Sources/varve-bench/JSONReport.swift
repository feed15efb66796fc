import Foundation

/// A line of JSON for the machine, then one for each engine and number of pages.
struct JSONReport: CommitReport {
    private struct Head: Encodable {
        let machine: Machine
        let object_bytes: Int
    }

    private struct Row: Encodable {
        let engine: String
        let k: Int
        let commits: Int
        let median_us: Double
        let p99_us: Double
        let mean_us: Double
        let bytes_per_commit: Double?
        let process_bytes_per_commit: Double
        let ratio_to_pwrite: Double?
    }

    func begin(machine: Machine, objectBytes: Int) {
        line(Head(machine: machine, object_bytes: objectBytes))
    }

    func progress(_ text: String) {
        StandardError.progress(text)
    }

    func measured(pages: Int, _ samples: [(engine: String, sample: CommitSample)]) {
        StandardError.progress("")
        for (engine, sample) in samples {
            line(
                Row(
                    engine: engine, k: pages, commits: sample.commits, median_us: sample.median, p99_us: sample.p99,
                    mean_us: sample.mean, bytes_per_commit: sample.deviceBytesPerCommit,
                    process_bytes_per_commit: sample.processBytesPerCommit,
                    ratio_to_pwrite: ratio(sample, in: samples)))
        }
        fflush(nil)
    }

    private func line(_ value: some Encodable) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if let data = try? encoder.encode(value) { print(String(decoding: data, as: UTF8.self)) }
    }
}
