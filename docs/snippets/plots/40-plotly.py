from idfkit.simulation.plotting.plotly import PlotlyBackend

from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
study.plot_end_uses(backend=PlotlyBackend()).write_html("end-uses.html")
