import Foundation

/// A line of JSON for the machine, then one for each engine and number of pages.
struct JSONReport: CommitReport {
    private struct Head: Encodable {
        let machine: Machine
        let objectBytes: Int
        let choice: String
        let bytesOfPage: Int
    }

    private struct Row: Encodable {
        let engine: String
        let k: Int
        let commits: Int
        let medianUs: Double
        let p99Us: Double
        let meanUs: Double
        let bytesPerCommit: Double?
        let processBytesPerCommit: Double
        let ratioToPwrite: Double?
        /// Of `CommitSample.reportedQuantiles`.
        let quantilesUs: [Double]
    }

    func begin(machine: Machine, objectBytes: Int, choice: PageChoice, bytesOfPage: Int) {
        JSONLine.print(Head(machine: machine, objectBytes: objectBytes, choice: choice.rawValue, bytesOfPage: bytesOfPage))
    }

    func progress(_ text: String) {
        StandardError.progress(text)
    }

    func measured(pages: Int, _ samples: [(engine: String, sample: CommitSample)]) {
        StandardError.progress("")
        for (engine, sample) in samples {
            JSONLine.print(
                Row(
                    engine: engine, k: pages, commits: sample.commits, medianUs: sample.median, p99Us: sample.p99,
                    meanUs: sample.mean, bytesPerCommit: sample.deviceBytesPerCommit,
                    processBytesPerCommit: sample.processBytesPerCommit,
                    ratioToPwrite: ratio(sample, in: samples), quantilesUs: sample.quantiles))
        }
        fflush(nil)
    }
}
