from banyan.workflows.reporter import Reporter, SilentReporter


def test_silence_takes_everything_a_workflow_can_say() -> None:
    reporter: Reporter = SilentReporter()
    reporter.stage("read")
    reporter.progress(1, 2, note="half")
    reporter.line("a line")
    reporter.close()
