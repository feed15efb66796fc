/// Takes what the commit benchmark finds out, as it does.
protocol CommitReport {
    func begin(machine: Machine, objectBytes: Int, choice: PageChoice, bytesOfPage: Int)
    func progress(_ text: String)
    func failed(_ engine: String, _ reason: String)
    /// The engines' samples for one number of pages, in the order of the report.
    func measured(pages: Int, _ samples: [(engine: String, sample: CommitSample)])
}

extension CommitReport {
    func failed(_ engine: String, _ reason: String) {
        StandardError.print("\(engine): failed: \(reason)")
    }

    /// The median of `sample` over that of the reference engine, if that took part.
    func ratio(_ sample: CommitSample, in samples: [(engine: String, sample: CommitSample)]) -> Double? {
        samples.first { $0.engine == EngineCatalog.reference }.map { sample.median / $0.sample.median }
    }
}
