"""Asks a Spark cluster on this machine: spark.py FOLDER SQL..., where the tables are folders of FOLDER. Prints the rows as JSON.

`local-cluster` starts a master and two workers as processes of their own, as on a real cluster: rows are read in one and
shuffled to the other.
"""

import json
import os
import shutil
import sys

import pyspark
from pyspark.sql import SparkSession

folder, *statements = sys.argv[1:]
spark = (
    SparkSession.builder.master("local-cluster[2,1,1024]")
    .appName("fleet")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    # A busy machine is no reason to take a worker for dead.
    .config("spark.network.timeout", "600s")
    .config("spark.executor.heartbeatInterval", "60s")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
    .getOrCreate()
)
for table in os.listdir(folder):
    spark.read.parquet(os.path.join(folder, table)).createOrReplaceTempView(table)
answers = [[list(row) for row in spark.sql(sql).collect()] for sql in statements]
json.dump(answers, sys.stdout)
# Logs of the workers, which Spark keeps beside itself.
logs = os.path.join(os.path.dirname(pyspark.__file__), "work", spark.sparkContext.applicationId)
spark.stop()
shutil.rmtree(logs, ignore_errors=True)
