from idfkit_fs import Study

study = Study("s3://my-bucket/windows")
figure = study.plot_eui("wwr")
figure.savefig("plots-eui.png")
